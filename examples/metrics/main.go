// Command metrics is an echo server that Prometheus can watch: OpenTelemetry's
// exporter makes the page /metrics of what otelws counts.
//
//	go run -C examples/metrics .
//
// Open the printed URL: the page opens connections, sends messages, and shows
// the numbers.
package main

import (
	"embed"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	prometheusexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
	"github.com/seed70bc5565/websocket/otelws"
)

//go:embed page
var page embed.FS

func main() {
	site.Main("metrics", "localhost:8089", program)
}

func program() (*site.Program, error) {
	registry := prometheus.NewRegistry()
	exporter, err := prometheusexporter.New(prometheusexporter.WithRegisterer(registry), prometheusexporter.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	observer, err := otelws.ForServer(&otelws.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(exporter))})
	if err != nil {
		return nil, err
	}
	return &site.Program{
		Page: page,
		Routes: map[string]http.Handler{
			"/ws":      websocket.Handler(echo, &websocket.AcceptOptions{Trace: observer.Trace()}),
			"/metrics": promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		},
	}, nil
}

// echo sends everything back.
func echo(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
			return
		}
	}
}
