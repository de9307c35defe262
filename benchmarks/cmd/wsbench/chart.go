package main

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

// The chart is a row for each scenario and a dot for each server, on a logarithmic axis of ratios to the best Go
// peer: to the right is better.
const (
	chartWidth = 860
	labelWidth = 330
	plotLeft   = labelWidth + 20
	plotRight  = chartWidth - 70
	rowHeight  = 34
	chartTop   = 92
)

// chartStyle keeps the chart legible on light and on dark pages.
const chartStyle = `
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.one { stroke: #59636e; stroke-width: 1.5 }
.ours { fill: #d1242f; stroke: none }
.value { font-weight: 600; fill: #d1242f }
.peer { fill: #0969da; fill-opacity: .55; stroke: none }
.floor { fill: none; stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
	text { fill: #f0f6fc }
	.small { fill: #9198a1 }
	.grid { stroke: #3d444d }
	.one { stroke: #9198a1 }
	.ours { fill: #ff7b72 }
	.value { fill: #ff7b72 }
	.peer { fill: #4493f8 }
	.floor { stroke: #f0f6fc }
}
`

func (r *report) chart() string {
	low, high := 0.5, 2.0
	for _, s := range r.config.scenarios {
		for _, l := range r.config.libraries {
			if q, ok := r.ratio(s, l.name); ok && l.name != "copyloop" {
				low, high = min(low, q.median), max(high, q.median)
			}
		}
	}
	low = math.Pow(2, math.Floor(math.Log2(low)))
	high = math.Pow(2, math.Ceil(math.Log2(high)))
	x := func(q float64) float64 {
		return plotLeft + (plotRight-plotLeft)*math.Log2(q/low)/math.Log2(high/low)
	}
	height := chartTop + rowHeight*len(r.config.scenarios) + 30
	bottom := height - 30

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		chartWidth, height, chartWidth, height)
	fmt.Fprintf(&b, "<title>Ratios to the best Go peer</title>\n<style>%s</style>\n", chartStyle)
	fmt.Fprintf(&b, `<text x="16" y="24" font-weight="600">Work per second of server CPU, or connections per byte, against the best Go peer</text>`+"\n")
	fmt.Fprintf(&b, `<text x="16" y="43" class="small">%s</text>`+"\n", html.EscapeString(r.when.UTC().Format("2006-01-02")+", "+load.Machine()))
	lx := 16.0
	for _, e := range []struct{ class, label string }{{"ours", "this library"}, {"peer", "other Go libraries"}, {"floor", "rawtcp, the floor"}} {
		dot(&b, e.class, lx+6, 64)
		fmt.Fprintf(&b, `<text x="%.0f" y="68" class="small">%s</text>`+"\n", lx+18, e.label)
		lx += 150
	}
	for q := low; q <= high; q *= 2 {
		class := "grid"
		if q == 1 {
			class = "one"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", class, x(q), x(q), chartTop-6, bottom)
		fmt.Fprintf(&b, `<text class="small" text-anchor="middle" x="%.1f" y="%d">%g×</text>`+"\n", x(q), bottom+18, q)
	}
	for i, s := range r.config.scenarios {
		y := float64(chartTop + rowHeight*i + rowHeight/2)
		fmt.Fprintf(&b, `<text x="16" y="%.0f">%s. %s</text>`+"\n", y+4, s.id, html.EscapeString(s.short))
		for _, l := range r.config.libraries {
			q, ok := r.ratio(s, l.name)
			if !ok || l.ours || l.name == "copyloop" {
				continue
			}
			class := "peer"
			if l.floor {
				class = "floor"
			}
			fmt.Fprintf(&b, "<g><title>%s %s</title>", html.EscapeString(l.label), times(q.median))
			dot(&b, class, x(q.median), y)
			b.WriteString("</g>\n")
		}
		if q, ok := r.ratio(s, "ours"); ok { // last, so that it lies on top
			dot(&b, "ours", x(q.median), y)
			fmt.Fprintf(&b, `<text class="value" x="%d" y="%.0f">%s×</text>`+"\n", plotRight+14, y+4, times(q.median))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func dot(b *strings.Builder, class string, x, y float64) {
	switch class {
	case "ours":
		fmt.Fprintf(b, `<circle class="ours" cx="%.1f" cy="%.1f" r="7"/>`+"\n", x, y)
	case "floor":
		fmt.Fprintf(b, `<path class="floor" d="M%.1f %.1fl6 6l-6 6l-6 -6z"/>`+"\n", x, y-6)
	default:
		fmt.Fprintf(b, `<circle class="peer" cx="%.1f" cy="%.1f" r="5"/>`+"\n", x, y)
	}
}
