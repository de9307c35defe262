module github.com/seed70bc5565/websocket/examples/cluster

go 1.25.0

require (
	github.com/redis/go-redis/v9 v9.17.2
	github.com/seed70bc5565/websocket v0.1.0
	github.com/seed70bc5565/websocket/hub/natsbroker v0.1.0
	github.com/seed70bc5565/websocket/hub/redisbroker v0.1.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dgryski/go-rendezvous v0.0.0-20200823014737-9f7001d12a5f // indirect
	github.com/klauspost/compress v1.18.0 // indirect
	github.com/nats-io/nats.go v1.48.0 // indirect
	github.com/nats-io/nkeys v0.4.11 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.37.0 // indirect
	golang.org/x/sys v0.32.0 // indirect
)
