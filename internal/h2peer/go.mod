module github.com/seed70bc5565/websocket/internal/h2peer

go 1.25.0

require (
	github.com/seed70bc5565/websocket v0.1.0
	golang.org/x/net v0.57.0
)

require golang.org/x/text v0.40.0 // indirect
