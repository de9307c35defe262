package otelws_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

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

// A client whose handshakes have spans. The trace context goes to the server in
// the header of the handshake.
func ExampleForClient() {
	spans := tracetest.NewInMemoryExporter() // a program has another exporter here
	var observer *otelws.Observer
	observer, err := otelws.ForClient(&otelws.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)),
		Propagator:     propagation.TraceContext{},
		Attributes: func(r *http.Request) []attribute.KeyValue {
			return []attribute.KeyValue{attribute.String("tenant", r.URL.Query().Get("tenant"))}
		},
		NoHTTPMetrics: true, // the HTTP client of this program has them already
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		fmt.Println("traced:", r.Header.Get("Traceparent") != "")
		c.Read(r.Context())
	}, nil))
	defer s.Close()
	opts := &websocket.DialOptions{Trace: observer.Trace()}
	c, _, err := websocket.Dial(context.Background(), s.URL+"?tenant=acme", opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusNormalClosure, "")

	for _, span := range spans.GetSpans() {
		for _, a := range span.Attributes {
			if a.Key == "tenant" {
				fmt.Println(span.SpanKind, a.Value.AsString())
			}
		}
	}
	// Output:
	// traced: true
	// client acme
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
