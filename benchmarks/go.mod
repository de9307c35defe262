module github.com/seed70bc5565/websocket/benchmarks

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/gobwas/httphead v0.1.0
	github.com/gobwas/ws v1.5.0
	github.com/gorilla/websocket v1.5.3
	github.com/lxzan/gws v1.9.1
	github.com/redis/go-redis/v9 v9.17.2
	github.com/seed70bc5565/websocket v0.1.0
	github.com/seed70bc5565/websocket/hub/redisbroker v0.1.0
	golang.org/x/net v0.62.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dgryski/go-rendezvous v0.0.0-20200823014737-9f7001d12a5f // indirect
	github.com/klauspost/compress v1.17.9 // indirect
)
