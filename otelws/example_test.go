package otelws_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/otelws"
)

// A server whose connections are measured. A program sets its providers with
// otel.SetMeterProvider and otel.SetTracerProvider, and needs no Options.
func ExampleForServer() {
	reader := sdkmetric.NewManualReader() // a program has an exporter here
	observer, err := otelws.ForServer(&otelws.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		fmt.Println(err)
		return
	}
	opts := &websocket.AcceptOptions{Trace: observer.Trace()}
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) { c.Read(r.Context()) }, opts))
	defer s.Close()
	c, _, err := websocket.Dial(context.Background(), s.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()

	var data metricdata.ResourceMetrics
	reader.Collect(context.Background(), &data)
	for _, m := range data.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "websocket.server.active_connections" {
			fmt.Println(m.Name, sum.DataPoints[0].Value)
		}
	}
	// Output: websocket.server.active_connections 1
}

// A span for each message, with a link to the handshake of its connection.
func ExampleObserver_StartMessage() {
	observer, err := otelws.ForServer(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	serve := func(c *websocket.Conn, r *http.Request) {
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			ctx, span := observer.StartMessage(r.Context(), c, "chat message")
			err = c.Write(ctx, m.Type, m.Data)
			span.End()
			if err != nil {
				return
			}
		}
	}
	http.Handle("/chat", websocket.Handler(serve, &websocket.AcceptOptions{Trace: observer.Trace()}))
}
