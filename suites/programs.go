package main

// programs are tried in this order.
var programs = []program{
	{module: "github.com/gorilla/websocket", version: "v1.5.3", door: "gorilla", own: true, packages: []string{"."}},
	{module: "github.com/coder/websocket", version: "v1.8.15", door: "coder", own: true, packages: []string{"."}},
	{module: "github.com/olahol/melody", version: "v1.1.4", door: "gorilla", packages: []string{"."}},
	{module: "github.com/sourcegraph/jsonrpc2", version: "v0.2.3", door: "gorilla", packages: []string{"./..."}},
	{module: "github.com/googollee/go-socket.io", version: "v1.7.0", door: "gorilla", packages: []string{"./..."}},
	{module: "github.com/bwmarrin/discordgo", version: "v0.29.0", door: "gorilla", packages: []string{"."}},
	{module: "github.com/adshao/go-binance/v2", version: "v2.8.7", door: "gorilla", packages: []string{".", "./common/websocket", "./futures"}},
	{module: "github.com/centrifugal/centrifuge-go", version: "v0.12.1", door: "gorilla", packages: []string{"."}},
	{module: "k8s.io/client-go", version: "v0.37.2", door: "gorilla", large: true, packages: []string{"./transport/websocket", "./tools/remotecommand", "./tools/portforward"}},
	{module: "github.com/ethereum/go-ethereum", version: "v1.17.10", door: "gorilla", large: true, packages: []string{"./rpc"}},
	{module: "github.com/libp2p/go-libp2p", version: "v0.51.0", door: "gorilla", large: true, packages: []string{"./p2p/transport/websocket"}},
	{module: "github.com/nbd-wtf/go-nostr", version: "v0.52.3", door: "coder", packages: []string{"."}},
	{module: "github.com/hasura/go-graphql-client", version: "v0.15.1", door: "coder", packages: []string{"./..."}},
	{module: "github.com/ably/ably-go", version: "v1.2.22", door: "coder", packages: []string{"./ably"}},
	{module: "github.com/philippseith/signalr", version: "v0.8.0", door: "coder", packages: []string{"."}},
	{module: "github.com/gotd/td", version: "v0.132.0", door: "coder", large: true, packages: []string{"./transport/...", "./wsutil/..."}},
}
