module github.com/seed70bc5565/websocket

go 1.25.0
