package sendermodel

import (
	"fmt"
	"strings"
	"testing"
)

// setups are small enough to be searched whole, and together let each two kinds
// of calls meet.
var setups = []Setup{
	{Limit: 2, Scripts: [][]Op{{Long, Close}, {Long}, {Short, Short}}},
	{Limit: 2, Scripts: [][]Op{{Long, Close}, {LongCtx}, {ShortCtx}}},
	{Limit: 3, Scripts: [][]Op{{Short, Short}, {ShortCtx, Short}, {Long}}},
	{Limit: 1, Scripts: [][]Op{{ShortCtx, ShortCtx}, {ShortCtx, ShortCtx}, {ShortCtx}}},
	{Limit: 2, Scripts: [][]Op{{ShortCtx, ShortCtx, ShortCtx}, {ShortCtx, ShortCtx}, {ShortCtx, ShortCtx}}},
	{Limit: 2, Scripts: [][]Op{{Pong, Fetch}, {Short}, {Long}}},
	{Limit: 2, Scripts: [][]Op{{Pong, Pong, Fetch}, {ShortCtx, Short}, {LongCtx}}},
	{Limit: 2, Scripts: [][]Op{{Pong, HandOver}, {More, Short}, {Close}}},
	{Limit: 3, Scripts: [][]Op{{Pong, Fetch, Pong, Fetch}, {More, Short}, {LongCtx, Close}}},
	{Limit: 2, Scripts: [][]Op{{Pong, Fetch}, {Short}, {LongCtx}, {Close}}},
	{Limit: 1, Scripts: [][]Op{{Pong, Pong, Pong, Fetch}, {ShortCtx}, {LongCtx}}},
}

// variants calls f with each setup, over transports that can try to write
// without waiting and over those that cannot.
func variants(f func(name string, setup Setup)) {
	for i, setup := range setups {
		for _, setup.Tries = range []bool{false, true} {
			f(fmt.Sprintf("%d/tries %v", i, setup.Tries), setup)
		}
	}
}

func TestAllInterleavings(t *testing.T) {
	variants(func(name string, setup Setup) {
		t.Run(name, func(t *testing.T) {
			report := Check(setup, None)
			if report.Violation != "" {
				t.Error(report)
			}
			t.Log(report)
		})
	})
}

// Each fault that is put in is found by some setup.
func TestFaultsAreFound(t *testing.T) {
	for fault, want := range map[Fault]string{
		Strand:    "stranded",
		Unbounded: "frames wait",
		Forget:    "stranded",
		Sleep:     "waits for ever",
	} {
		found := ""
		variants(func(name string, setup Setup) {
			if found != "" {
				return
			}
			if report := Check(setup, fault); strings.Contains(report.Violation, want) {
				found = fmt.Sprintf("setup %s: %v", name, report)
			}
		})
		if found == "" {
			t.Errorf("fault %d is not found", fault)
		}
		t.Logf("fault %d: %s", fault, found)
	}
}
