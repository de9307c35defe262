package otelws_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/otelws"
)

// A backend is the SDK with exporters in memory, and the observers of both
// roles.
type backend struct {
	t              *testing.T
	spans          *tracetest.InMemoryExporter
	metrics        *sdkmetric.ManualReader
	opts           otelws.Options
	server, client *otelws.Observer
}

func newBackend(t *testing.T, change func(*otelws.Options)) *backend {
	t.Helper()
	b := &backend{t: t, spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader()}
	b.opts = otelws.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(b.spans)),
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.metrics)),
		Propagator:     propagation.TraceContext{},
	}
	if change != nil {
		change(&b.opts)
	}
	var err, err2 error
	b.server, err = otelws.ForServer(&b.opts)
	b.client, err2 = otelws.ForClient(&b.opts)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return b
}

// serve starts a server at the pattern /chat/{room}.
func (b *backend) serve(serve func(c *websocket.Conn, r *http.Request)) *httptest.Server {
	s := websocket.Handler(serve, &websocket.AcceptOptions{Trace: b.server.Trace(), Subprotocols: []string{"chat"}})
	mux := http.NewServeMux()
	mux.Handle("/chat/{room}", s)
	h := httptest.NewServer(mux)
	b.t.Cleanup(func() { s.Close(); h.Close() })
	return h
}

func (b *backend) dial(url string) (*websocket.Conn, error) {
	c, _, err := websocket.Dial(b.t.Context(), url, &websocket.DialOptions{Trace: b.client.Trace(), Subprotocols: []string{"chat"}})
	return c, err
}

// series returns all points of the metrics, one a line: "name{attributes}
// value". Of a histogram the value is the count.
func (b *backend) series() []string {
	b.t.Helper()
	var data metricdata.ResourceMetrics
	if err := b.metrics.Collect(context.Background(), &data); err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	line := func(m metricdata.Metrics, set attribute.Set, n any) {
		lines = append(lines, fmt.Sprintf("%s{%s} %v %s", m.Name, set.Encoded(attribute.DefaultEncoder()), n, m.Unit))
	}
	for _, sm := range data.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					line(m, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					if p.Sum < 0 || p.Sum > 60 {
						b.t.Errorf("%s: a sum of %v s", m.Name, p.Sum)
					}
					line(m, p.Attributes, p.Count)
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// wantSeries waits until the metrics that begin with prefix are these.
func (b *backend) wantSeries(prefix string, want ...string) {
	b.t.Helper()
	var got []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		got = slices.DeleteFunc(b.series(), func(s string) bool { return !strings.HasPrefix(s, prefix) })
		if slices.Equal(got, want) {
			return
		}
	}
	b.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

func echo(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
			return
		}
	}
}

// What is open, what has passed, and how connections ended, on both sides.
func TestMetrics(t *testing.T) {
	b := newBackend(t, nil)
	h := b.serve(echo)
	var conns []*websocket.Conn
	for range 2 {
		c, err := b.dial(h.URL + "/chat/1?secret=1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		conns = append(conns, c)
		c.Write(t.Context(), websocket.MessageText, []byte("hello"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		b.wantSeries("websocket.server.messages",
			"websocket.server.messages{network.io.direction=receive} 2 {message}", "websocket.server.messages{network.io.direction=transmit} 2 {message}")
		b.wantSeries("websocket.client.payload",
			"websocket.client.payload{network.io.direction=receive} 10 By", "websocket.client.payload{network.io.direction=transmit} 10 By")
	}
	check()
	b.wantSeries("websocket.server.active_connections", "websocket.server.active_connections{} 2 {connection}")
	b.wantSeries("websocket.client.active_connections", "websocket.client.active_connections{} 2 {connection}")
	b.wantSeries("websocket.server.io",
		"websocket.server.io{network.io.direction=receive} 22 By", "websocket.server.io{network.io.direction=transmit} 14 By")

	conns[0].Close(4000, "")
	conns[1].CloseNow()
	b.wantSeries("websocket.server.active_connections", "websocket.server.active_connections{} 0 {connection}")
	b.wantSeries("websocket.server.connection.duration",
		"websocket.server.connection.duration{error.type=transport,websocket.close.code=1006,websocket.end.by=transport,websocket.end.cause=transport} 1 s",
		"websocket.server.connection.duration{websocket.close.code=4000,websocket.end.by=peer,websocket.end.cause=peer} 1 s")
	b.wantSeries("websocket.client.connection.duration",
		"websocket.client.connection.duration{websocket.close.code=1006,websocket.end.by=local,websocket.end.cause=close_now} 1 s",
		"websocket.client.connection.duration{websocket.close.code=4000,websocket.end.by=local,websocket.end.cause=close} 1 s")
	check() // what has ended counts on
	if err := b.server.Close(); err != nil {
		t.Error(err)
	}
	b.wantSeries("websocket.server.messages")
}

// The span of a handshake ends with it. The server's span is a child of the
// client's span, and the context of the handler has it.
func TestSpans(t *testing.T) {
	b := newBackend(t, func(o *otelws.Options) {
		o.Attributes = func(r *http.Request) []attribute.KeyValue {
			return []attribute.KeyValue{attribute.String("mine", r.URL.Path)}
		}
	})
	inside := make(chan trace.SpanContext, 1)
	h := b.serve(func(c *websocket.Conn, r *http.Request) {
		inside <- trace.SpanContextFromContext(r.Context())
		echo(c, r)
	})
	c, err := b.dial(h.URL + "/chat/1?secret=1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	handler := <-inside
	spans := b.spans.GetSpans()
	if len(spans) != 2 {
		t.Fatalf("%d spans while the connection lives", len(spans))
	}
	server, client := spans[0], spans[1]
	if server.SpanKind != trace.SpanKindServer {
		server, client = client, server
	}
	if server.Parent.SpanID() != client.SpanContext.SpanID() || server.SpanContext.TraceID() != client.SpanContext.TraceID() {
		t.Errorf("the server's span is no child of the client's")
	}
	if handler.SpanID() != server.SpanContext.SpanID() {
		t.Errorf("the handler's span is %v", handler)
	}
	host := strings.TrimPrefix(h.URL, "http://")
	_, port, _ := strings.Cut(host, ":")
	for _, tt := range []struct {
		span tracetest.SpanStub
		name string
		want string
	}{
		{server, "GET /chat/{room}", "client.address=127.0.0.1,http.request.method=GET,http.response.status_code=101,http.route=/chat/{room},mine=/chat/1," +
			"network.protocol.name=websocket,network.protocol.version=1.1,server.address=127.0.0.1,server.port=" + port +
			",url.path=/chat/1,url.scheme=http,user_agent.original=Go-http-client/1.1,websocket.subprotocol=chat"},
		{client, "GET", "http.request.method=GET,http.response.status_code=101,mine=/chat/1,network.protocol.name=websocket,network.protocol.version=1.1," +
			"server.address=127.0.0.1,server.port=" + port + ",url.full=" + h.URL + "/chat/1,url.scheme=http,websocket.subprotocol=chat"},
	} {
		set := attribute.NewSet(tt.span.Attributes...)
		if got := set.Encoded(attribute.DefaultEncoder()); tt.span.Name != tt.name || strings.ReplaceAll(got, `\`, "") != tt.want {
			t.Errorf("%s has\n%s, want\n%s", tt.span.Name, got, tt.want)
		}
		if tt.span.Status.Code != codes.Unset || tt.span.EndTime.Before(tt.span.StartTime) {
			t.Errorf("%s: %+v", tt.span.Name, tt.span.Status)
		}
	}
	b.wantSeries("http.server",
		"http.server.request.duration{http.request.method=GET,http.response.status_code=101,http.route=/chat/{room},network.protocol.version=1.1,url.scheme=http} 1 s")
	b.wantSeries("http.client",
		"http.client.request.duration{http.request.method=GET,http.response.status_code=101,network.protocol.version=1.1,server.address=127.0.0.1,server.port="+port+",url.scheme=http} 1 s")

	// A message's span is the root of another trace, with a link.
	b.spans.Reset()
	ctx := trace.ContextWithSpanContext(t.Context(), handler)
	_, span := b.client.StartMessage(ctx, c, "message", trace.WithSpanKind(trace.SpanKindConsumer))
	span.End()
	message := b.spans.GetSpans()[0]
	if message.Parent.IsValid() || message.SpanContext.TraceID() == client.SpanContext.TraceID() || len(message.Links) != 1 ||
		message.Links[0].SpanContext.SpanID() != client.SpanContext.SpanID() || message.SpanKind != trace.SpanKindConsumer {
		t.Errorf("the message's span is %+v", message)
	}
}

// A refusal is the client's fault for the server, and an error for the client.
func TestRefused(t *testing.T) {
	b := newBackend(t, nil)
	h := b.serve(echo)
	req, _ := http.NewRequest("GET", h.URL+"/chat/1", nil)
	req.Header.Set("User-Agent", "")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := b.dial(h.URL + "/elsewhere"); err == nil {
		t.Error("connected")
	}
	if _, err := b.dial("ws://127.0.0.1:1/"); err == nil {
		t.Error("connected")
	}
	b.wantSeries("http.server",
		"http.server.request.duration{http.request.method=GET,http.response.status_code=426,http.route=/chat/{room},network.protocol.version=1.1,url.scheme=http} 1 s")
	var got []string
	for _, s := range b.spans.GetSpans() {
		set := attribute.NewSet(s.Attributes...)
		status, _ := set.Value("http.response.status_code")
		kind, _ := set.Value("error.type")
		got = append(got, fmt.Sprintf("%v %v %v %v", s.SpanKind, s.Status.Code, status.AsInt64(), kind.AsString()))
	}
	want := []string{"server Unset 426 ", "client Error 404 404", "client Error 0 handshake"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	b.wantSeries("websocket.server.active")
}

// Where another one measures requests, this does not.
func TestNoHTTPMetrics(t *testing.T) {
	b := newBackend(t, func(o *otelws.Options) { o.NoHTTPMetrics = true })
	h := b.serve(echo)
	c, err := b.dial(h.URL + "/chat/1")
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	b.wantSeries("http.")
	// The span of the server ends behind its response, which the client has.
	for end := time.Now().Add(10 * time.Second); len(b.spans.GetSpans()) != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d spans", len(b.spans.GetSpans()))
		}
	}
}

// The global providers, which do nothing here, are the default. A connection of
// NewConn has no handshake.
func TestDefaults(t *testing.T) {
	o, err := otelws.ForServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{Trace: o.Trace()}))
	defer s.Close()
	c, _, err := websocket.Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, span := o.StartMessage(t.Context(), c, "message")
	span.End()
	c.CloseNow()
}
