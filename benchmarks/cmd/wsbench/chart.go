package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The chart is a row for each scenario and a mark for each server, on a
// logarithmic axis of ratios to the best other library. To the right is better.
const (
	chartWidth = 900
	labelWidth = 300
	plotLeft   = labelWidth + 10
	plotRight  = chartWidth - 150
	rowHeight  = 30
	chartTop   = 118
)

// chartStyle keeps the chart legible on light and on dark pages.
const chartStyle = `
.back { fill: #ffffff }
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.head { font-size: 15px; font-weight: 600 }
.small { font-size: 12px; fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.one { stroke: #59636e; stroke-width: 1.5 }
.ours { fill: #d1242f; stroke: none }
.range { stroke: #d1242f; stroke-width: 2 }
.value { font-weight: 600; fill: #d1242f }
.gorilla { fill: #0969da }
.coder { fill: #8250df }
.gobwas { fill: #1a7f37 }
.gws { fill: #9a6700 }
.xnet { fill: #59636e }
.floor { fill: none; stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
	.back { fill: #0d1117 }
	text { fill: #f0f6fc }
	.small { fill: #9198a1 }
	.grid { stroke: #3d444d }
	.one { stroke: #9198a1 }
	.ours { fill: #ff7b72 }
	.range { stroke: #ff7b72 }
	.value { fill: #ff7b72 }
	.gorilla { fill: #4493f8 }
	.coder { fill: #ab7df8 }
	.gobwas { fill: #3fb950 }
	.gws { fill: #d29922 }
	.xnet { fill: #9198a1 }
	.floor { stroke: #f0f6fc }
}
`

// chartPeers are the servers in the chart next to ours, in the order of its
// key.
var chartPeers = []struct{ name, class, label string }{
	{"gorilla", "gorilla", "gorilla"}, {"coder", "coder", "coder"}, {"gobwas", "gobwas", "gobwas"}, {"gws", "gws", "gws"}, {"xnet", "xnet", "x/net"},
	{"rawtcp", "floor", "floor: no WebSocket, only lengths"},
}

// oursIn returns the server that stands for this library in a scenario.
func oursIn(s scenario) string {
	if s.bare {
		return "ours-bare"
	}
	return "ours"
}

func (r *report) chart() string {
	var rows []scenario // those that this library was measured in
	for _, s := range r.config.scenarios {
		if _, ok := r.ratio(s, oursIn(s)); ok {
			rows = append(rows, s)
		}
	}
	low, high := 0.5, 2.0
	for _, s := range rows {
		names := []string{oursIn(s)}
		for _, p := range chartPeers {
			names = append(names, p.name)
		}
		for _, name := range names {
			if q, ok := r.ratio(s, name); ok {
				low, high = min(low, q.median), max(high, q.median)
			}
		}
	}
	low = math.Pow(2, math.Floor(math.Log2(low)))
	high = math.Pow(2, math.Ceil(math.Log2(high)))
	x := func(q float64) float64 {
		q = min(max(q, low), high)
		return plotLeft + (plotRight-plotLeft)*math.Log2(q/low)/math.Log2(high/low)
	}
	height := chartTop + rowHeight*len(rows) + 56
	bottom := height - 56

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		chartWidth, height, chartWidth, height)
	fmt.Fprintf(&b, "<title>Speed and memory of WebSocket libraries for Go, as ratios to the best other library</title>\n<style>%s</style>\n", chartStyle)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d" rx="8"/>`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<text x="16" y="28" class="head">How much a server does with the same processor time or memory, against the best other library</text>`+"\n")
	fmt.Fprintf(&b, `<text x="16" y="48" class="small">Measured on %s: %s. Medians of %d rounds; the red line is their range.</text>`+"\n",
		r.When.Format("2006-01-02"), html.EscapeString(r.Machine), r.Rounds)
	lx := 16.0
	key := func(class, label string, width float64) {
		dot(&b, class, lx+6, 74)
		fmt.Fprintf(&b, `<text x="%.0f" y="78" class="small">%s</text>`+"\n", lx+18, label)
		lx += width
	}
	key("ours", "this library", 110)
	for _, p := range chartPeers {
		key(p.class, p.label, 82)
	}
	for q := low; q <= high; q *= 2 {
		class := "grid"
		if q == 1 {
			class = "one"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", class, x(q), x(q), chartTop-6, bottom)
		for _, y := range []int{chartTop - 12, bottom + 18} {
			fmt.Fprintf(&b, `<text class="small" text-anchor="middle" x="%.1f" y="%d">%s</text>`+"\n", x(q), y, fraction(q))
		}
	}
	fmt.Fprintf(&b, `<text class="small" text-anchor="middle" x="%.1f" y="%d">times as good as the best other library (logarithmic; right is better)</text>`+"\n",
		float64(plotLeft+plotRight)/2, bottom+40)
	for i, s := range rows {
		y := float64(chartTop + rowHeight*i + rowHeight/2)
		fmt.Fprintf(&b, `<text x="16" y="%.0f">%s</text>`+"\n", y+4, html.EscapeString(s.short))
		for _, p := range chartPeers {
			q, ok := r.ratio(s, p.name)
			if !ok {
				continue
			}
			label := r.config.libraries[slices.IndexFunc(r.config.libraries, func(l library) bool { return l.name == p.name })].label
			fmt.Fprintf(&b, "<g><title>%s: %s times the best other</title>", html.EscapeString(label), times(q.median))
			dot(&b, p.class, x(q.median), y)
			b.WriteString("</g>\n")
		}
		if q, ok := r.ratio(s, oursIn(s)); ok { // last, so that it lies on top
			fmt.Fprintf(&b, `<line class="range" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n", x(q.low), x(q.high), y, y)
			dot(&b, "ours", x(q.median), y)
			fmt.Fprintf(&b, `<text class="value" x="%d" y="%.0f">%s</text>`+"\n", plotRight+14, y+4, times(q.median))
			fmt.Fprintf(&b, `<text class="small" x="%d" y="%.0f">%s to %s</text>`+"\n", plotRight+58, y+4, times(q.low), times(q.high))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// fraction returns a power of two as the axis has it: 1/4, 1, 16.
func fraction(q float64) string {
	if q < 1 {
		return fmt.Sprintf("1/%g", 1/q)
	}
	return fmt.Sprintf("%g", q)
}

// dot draws a mark. Each server has a shape of its own, because not all people
// tell the colours apart.
func dot(b *strings.Builder, class string, x, y float64) {
	switch class {
	case "ours":
		fmt.Fprintf(b, `<circle class="ours" cx="%.1f" cy="%.1f" r="7"/>`+"\n", x, y)
	case "floor":
		fmt.Fprintf(b, `<path class="floor" d="M%.1f %.1fl6 6l-6 6l-6 -6z"/>`+"\n", x, y-6)
	case "coder":
		fmt.Fprintf(b, `<rect class="coder" x="%.1f" y="%.1f" width="9" height="9"/>`+"\n", x-4.5, y-4.5)
	case "gobwas":
		fmt.Fprintf(b, `<path class="gobwas" d="M%.1f %.1fl6 10h-12z"/>`+"\n", x, y-6)
	case "gws":
		fmt.Fprintf(b, `<path class="gws" d="M%.1f %.1fl6 -10h-12z"/>`+"\n", x, y+6)
	case "xnet":
		fmt.Fprintf(b, `<path class="xnet" d="M%.1f %.1fh4v4h4v4h-4v4h-4v-4h-4v-4h4z"/>`+"\n", x-2, y-6)
	default:
		fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="5"/>`+"\n", class, x, y)
	}
}
