package main

// programs are tried in this order.
var programs = []program{
	{module: "github.com/gorilla/websocket", version: "v1.5.3", door: "gorilla", own: true, packages: []string{"."}, crashes: "^TestConcurrentWritePanic$", known: map[string]string{
		"TestConcurrentWritePanic":         "It wants a panic when two goroutines write. Here they may.",
		"TestFailedConnectionReadPanic":    "It wants a panic after 1,000 reads of a failed connection. Here they return the error.",
		"TestDialExtraTokensInRespHeaders": "The response says `Upgrade: foo, websocket`. The client MUST fail (RFC 6455, section 4.1, rule 2).",
		"TestReadLimit": "It expects WriteMessage to make fragments, so that a part of the long message arrives. Here it makes one frame. " +
			"And it wants ErrReadLimit for a length of 2^63 or more, which is a protocol error here (section 5.2).",
		"TestNetConn":                  "Its connection has been through no handshake. The one that stands in for it has another type.",
		"TestDeprecatedUnderlyingConn": "As TestNetConn.",
	}},
	{module: "github.com/coder/websocket", version: "v1.8.15", door: "coder", own: true, packages: []string{"."}, known: map[string]string{
		"TestDialRedirect":                                  "It wants an error text of coder's.",
		"TestBadDials/badResponse":                          "It wants an error text of coder's.",
		"TestConn/badClose":                                 "It wants an error text of coder's.",
		"TestConn/badPing":                                  "It wants an error text of coder's.",
		"TestConn/pingReceivedPongNotReceived":              "It wants an error text of coder's.",
		"TestConn/netConn/BadMsg":                           "It wants an error text of coder's.",
		"TestConn/ReadLimitExceededReturnsErrMessageTooBig": "It wants an error text of coder's.",
	}},
	{module: "github.com/olahol/melody", version: "v1.1.4", door: "gorilla", packages: []string{"."}, skip: "^TestBroadcast$",
		about: "without TestBroadcast, which hangs with both, most of the time on two processors"},
	{module: "github.com/sourcegraph/jsonrpc2", version: "v0.2.3", door: "gorilla", packages: []string{"./..."}},
	{module: "k8s.io/client-go", version: "v0.37.2", door: "gorilla", packages: []string{"./transport/websocket", "./tools/remotecommand", "./tools/portforward"},
		about: "its packages that use WebSocket"},
	{module: "github.com/ethereum/go-ethereum", version: "v1.17.10", door: "gorilla", large: true, packages: []string{"./rpc"}, about: "its package rpc"},
	{module: "github.com/libp2p/go-libp2p", version: "v0.51.0", door: "gorilla", large: true, packages: []string{"./p2p/transport/websocket"},
		about: "its package p2p/transport/websocket"},
	{module: "github.com/googollee/go-socket.io", version: "v1.7.0", door: "gorilla", large: true, packages: []string{"./..."}},
	{module: "github.com/bwmarrin/discordgo", version: "v0.29.0", door: "gorilla", large: true, packages: []string{"."},
		about: "its tests of WebSocket need an account"},
	{module: "github.com/adshao/go-binance/v2", version: "v2.8.7", door: "gorilla", large: true, packages: []string{".", "./common/websocket", "./futures"}},
	{module: "github.com/centrifugal/centrifuge-go", version: "v0.12.1", door: "gorilla", large: true, packages: []string{"."}},
	{module: "github.com/nbd-wtf/go-nostr", version: "v0.52.3", door: "coder", packages: []string{"."}},
	{module: "github.com/ably/ably-go", version: "v1.2.22", door: "coder", packages: []string{"./ably"}},
	{module: "github.com/philippseith/signalr", version: "v0.8.0", door: "coder", large: true, packages: []string{"."}},
	{module: "github.com/hasura/go-graphql-client", version: "v0.15.1", door: "coder", large: true, packages: []string{"./..."}},
	{module: "github.com/gotd/td", version: "v0.132.0", door: "coder", large: true, packages: []string{"./transport/..."}, about: "its packages below transport"},
}
