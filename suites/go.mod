module github.com/seed70bc5565/websocket/suites

go 1.25
