package otelws

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed70bc5565/websocket"
)

const scope = "github.com/seed70bc5565/websocket/otelws"

// Options are the options of [ForServer] and [ForClient]. A nil pointer and the
// zero value hold the defaults. The struct is only read.
type Options struct {
	// TracerProvider, MeterProvider and Propagator are used in place of the
	// global ones of package otel.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Propagator     propagation.TextMapPropagator

	// Attributes returns more attributes of the span of a handshake.
	Attributes func(r *http.Request) []attribute.KeyValue

	// NoHTTPMetrics leaves out http.server.request.duration, or
	// http.client.request.duration.
	NoHTTPMetrics bool
}

// An Observer tells OpenTelemetry of the connections of those options that have
// its [Observer.Trace]. All methods may be called concurrently.
type Observer struct {
	server     bool
	opts       Options
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	trace      websocket.Trace

	requests  metric.Float64Histogram
	active    metric.Int64UpDownCounter
	durations metric.Float64Histogram
	slow      metric.Int64Counter
	observed  metric.Registration

	messages, payload, io metric.Int64ObservableCounter

	mu    sync.Mutex // guards what follows
	live  map[*websocket.Conn]trace.SpanContext
	ended websocket.Stats // the traffic of those that have ended
}

// ForServer returns an Observer for the options of a server. The error is that
// of the MeterProvider.
func ForServer(opts *Options) (*Observer, error) { return newObserver("server", opts) }

// ForClient returns an Observer for the options of a client. The error is that
// of the MeterProvider.
func ForClient(opts *Options) (*Observer, error) { return newObserver("client", opts) }

func newObserver(role string, opts *Options) (*Observer, error) {
	o := &Observer{server: role == "server", live: map[*websocket.Conn]trace.SpanContext{}}
	if opts != nil {
		o.opts = *opts
	}
	tracers, meters := o.opts.TracerProvider, o.opts.MeterProvider
	if tracers == nil {
		tracers = otel.GetTracerProvider()
	}
	if meters == nil {
		meters = otel.GetMeterProvider()
	}
	if o.propagator = o.opts.Propagator; o.propagator == nil {
		o.propagator = otel.GetTextMapPropagator()
	}
	o.tracer = tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	if err := o.makeInstruments(meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)), role); err != nil {
		return nil, err
	}
	o.trace = websocket.Trace{
		Handshake: o.handshake,
		Accepted:  o.accepted,
		Refused:   o.refused,
		Ended:     o.end,
		SlowWrite: func(ctx context.Context, _ *websocket.Conn, _ time.Duration) { o.slow.Add(ctx, 1) },
	}
	return o, nil
}

// handshakeBounds are the bucket boundaries that the conventions advise for
// http.server.request.duration. connectionBounds reach to a day.
var (
	handshakeBounds  = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	connectionBounds = []float64{0.1, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}
)

func (o *Observer) makeInstruments(m metric.Meter, role string) error {
	var errs [8]error
	name := "websocket." + role + "."
	if !o.opts.NoHTTPMetrics {
		o.requests, errs[0] = m.Float64Histogram("http."+role+".request.duration", metric.WithUnit("s"),
			metric.WithDescription("Duration of HTTP "+role+" requests."), metric.WithExplicitBucketBoundaries(handshakeBounds...))
	}
	o.active, errs[1] = m.Int64UpDownCounter(name+"active_connections", metric.WithUnit("{connection}"),
		metric.WithDescription("Number of WebSocket connections that are open."))
	o.durations, errs[2] = m.Float64Histogram(name+"connection.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of WebSocket connections."), metric.WithExplicitBucketBoundaries(connectionBounds...))
	o.slow, errs[3] = m.Int64Counter(name+"slow_writes", metric.WithUnit("{write}"),
		metric.WithDescription("Number of writes that took 100 ms or more."))
	o.messages, errs[4] = m.Int64ObservableCounter(name+"messages", metric.WithUnit("{message}"),
		metric.WithDescription("Number of WebSocket messages."))
	o.payload, errs[5] = m.Int64ObservableCounter(name+"payload", metric.WithUnit("By"),
		metric.WithDescription("Bytes of WebSocket messages, uncompressed."))
	o.io, errs[6] = m.Int64ObservableCounter(name+"io", metric.WithUnit("By"),
		metric.WithDescription("Bytes of WebSocket frames."))
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	var err error
	o.observed, err = m.RegisterCallback(o.observe, o.messages, o.payload, o.io)
	return err
}

// Trace returns the functions that observe: for the Trace field of the options
// of any number of servers, or of dials.
func (o *Observer) Trace() *websocket.Trace { return &o.trace }

// Close ends the callback that sums the traffic of connections. The other
// metrics and the spans go on.
func (o *Observer) Close() error { return o.observed.Unregister() }

// StartMessage starts a span for a message of c, such as one that a handler has
// read. The span is the root of a trace of its own, and has a link to the span
// of the handshake of c. More options, such as a kind or more links, are opts.
func (o *Observer) StartMessage(ctx context.Context, c *websocket.Conn, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	o.mu.Lock()
	handshake := o.live[c]
	o.mu.Unlock()
	start := []trace.SpanStartOption{trace.WithNewRoot()}
	if handshake.IsValid() {
		start = append(start, trace.WithLinks(trace.Link{SpanContext: handshake}))
	}
	return o.tracer.Start(ctx, name, append(start, opts...)...)
}

// An attempt is a handshake in progress. It is a value of the context.
type attempt struct {
	span  trace.Span
	begin time.Time
	attrs []attribute.KeyValue // of the metric, except what its end adds
}

type attemptKey struct{}

func (o *Observer) handshake(r *http.Request) context.Context {
	ctx := r.Context()
	at := &attempt{begin: time.Now()}
	scheme, kind := "http", trace.SpanKindClient
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	host, port := hostAndPort(r.Host, scheme)
	at.attrs = []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(method(r.Method)),
		semconv.URLScheme(scheme),
		semconv.NetworkProtocolVersion(strings.TrimSuffix(strings.TrimPrefix(r.Proto, "HTTP/"), ".0")),
	}
	attrs := []attribute.KeyValue{semconv.ServerAddress(host), semconv.ServerPort(port), semconv.NetworkProtocolName("websocket")}
	name := method(r.Method)
	if o.server {
		kind = trace.SpanKindServer
		if !trace.SpanContextFromContext(ctx).IsValid() {
			ctx = o.propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
		}
		attrs = append(attrs, semconv.URLPath(r.URL.Path))
		if peer, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
			attrs = append(attrs, semconv.ClientAddress(peer))
		}
		if agent := r.UserAgent(); agent != "" {
			attrs = append(attrs, semconv.UserAgentOriginal(agent))
		}
		if route := r.Pattern; route != "" {
			if _, path, ok := strings.Cut(route, "/"); ok {
				route = "/" + path
			}
			at.attrs = append(at.attrs, semconv.HTTPRoute(route))
			name += " " + route
		}
	} else {
		u := *r.URL
		u.User, u.RawQuery, u.Fragment = nil, "", "" // they may hold secrets
		attrs = append(attrs, semconv.URLFull(u.String()))
		at.attrs = append(at.attrs, semconv.ServerAddress(host), semconv.ServerPort(port))
	}
	if o.opts.Attributes != nil {
		attrs = append(attrs, o.opts.Attributes(r)...)
	}
	ctx, at.span = o.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at.begin),
		trace.WithAttributes(at.attrs...), trace.WithAttributes(attrs...))
	if !o.server {
		o.propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
	}
	return context.WithValue(ctx, attemptKey{}, at)
}

// method returns m, or what the conventions have for a method that is not
// known.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodConnect, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// hostAndPort splits the Host of a request.
func hostAndPort(host, scheme string) (string, int) {
	if name, p, err := net.SplitHostPort(host); err == nil {
		if port, err := strconv.Atoi(p); err == nil {
			return name, port
		}
		return name, 0
	}
	if scheme == "https" {
		return host, 443
	}
	return host, 80
}

// finish ends the span of a handshake, and records its duration. status is that
// of the response, or 0.
func (o *Observer) finish(ctx context.Context, at *attempt, status int, failed error, more ...attribute.KeyValue) {
	attrs := at.attrs
	if status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(status))
	}
	// A server that refuses a bad request has not failed: the conventions say
	// so.
	if failed != nil && (status == 0 || status >= 500 || !o.server) {
		kind := "handshake"
		if status != 0 {
			kind = strconv.Itoa(status)
		}
		attrs = append(attrs, semconv.ErrorTypeKey.String(kind))
		at.span.SetStatus(codes.Error, failed.Error())
	}
	at.span.SetAttributes(attrs[len(at.attrs):]...)
	at.span.SetAttributes(more...)
	at.span.End()
	if o.requests != nil {
		o.requests.Record(ctx, time.Since(at.begin).Seconds(), metric.WithAttributes(attrs...))
	}
}

func (o *Observer) accepted(ctx context.Context, c *websocket.Conn) {
	var handshake trace.SpanContext
	if at, ok := ctx.Value(attemptKey{}).(*attempt); ok { // else there was no handshake
		state := c.ConnectionState()
		status := http.StatusSwitchingProtocols
		if strings.HasPrefix(state.Proto, "HTTP/2") {
			status = http.StatusOK
		}
		var more []attribute.KeyValue
		if state.Subprotocol != "" {
			more = append(more, attribute.String("websocket.subprotocol", state.Subprotocol))
		}
		if state.Extensions != "" {
			more = append(more, attribute.String("websocket.extensions", state.Extensions))
		}
		o.finish(ctx, at, status, nil, more...)
		handshake = at.span.SpanContext()
	}
	o.active.Add(ctx, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.live[c] = handshake
}

func (o *Observer) refused(ctx context.Context, status int, err error) {
	if at, ok := ctx.Value(attemptKey{}).(*attempt); ok { // else there was no request
		o.finish(ctx, at, status, err)
	}
}

func (o *Observer) end(ctx context.Context, c *websocket.Conn, end websocket.End) {
	last := c.Stats()
	attrs := []attribute.KeyValue{
		attribute.String("websocket.end.cause", end.Cause.String()),
		attribute.String("websocket.end.by", end.Cause.By()),
		attribute.Int("websocket.close.code", int(end.Code)),
	}
	switch end.Cause {
	case websocket.EndProtocolError, websocket.EndHeartbeat, websocket.EndTransport, websocket.EndInterrupted:
		attrs = append(attrs, semconv.ErrorTypeKey.String(end.Cause.String()))
	}
	o.durations.Record(ctx, time.Since(last.Began).Seconds(), metric.WithAttributes(attrs...))
	o.active.Add(ctx, -1)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.live, c)
	add(&o.ended, last)
}

func add(sum *websocket.Stats, s websocket.Stats) {
	for _, t := range []struct{ to, from *websocket.Traffic }{{&sum.Received, &s.Received}, {&sum.Sent, &s.Sent}} {
		t.to.Messages += t.from.Messages
		t.to.Payload += t.from.Payload
		t.to.Wire += t.from.Wire
	}
}

var (
	received = metric.WithAttributes(semconv.NetworkIODirectionReceive)
	sent     = metric.WithAttributes(semconv.NetworkIODirectionTransmit)
)

// observe sums the traffic of all connections.
func (o *Observer) observe(_ context.Context, to metric.Observer) error {
	o.mu.Lock()
	sum := o.ended
	conns := make([]*websocket.Conn, 0, len(o.live))
	for c := range o.live {
		conns = append(conns, c)
	}
	o.mu.Unlock()
	for _, c := range conns {
		add(&sum, c.Stats())
	}
	to.ObserveInt64(o.messages, sum.Received.Messages, received)
	to.ObserveInt64(o.messages, sum.Sent.Messages, sent)
	to.ObserveInt64(o.payload, sum.Received.Payload, received)
	to.ObserveInt64(o.payload, sum.Sent.Payload, sent)
	to.ObserveInt64(o.io, sum.Received.Wire, received)
	to.ObserveInt64(o.io, sum.Sent.Wire, sent)
	return nil
}
