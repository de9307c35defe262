package suite

import "strconv"

// A Detail is what a report says of a case beyond its verdicts, with the names
// of the original's files.
type Detail struct {
	ID                string           `json:"id"`
	Agent             string           `json:"agent"`
	Case              int              `json:"case"`
	Description       string           `json:"description"`
	Expectation       string           `json:"expectation"`
	Behavior          string           `json:"behavior"`
	BehaviorClose     string           `json:"behaviorClose"`
	Result            string           `json:"result"`
	ResultClose       string           `json:"resultClose"`
	Started           string           `json:"started"`
	Duration          int64            `json:"duration"` // in milliseconds
	ReportTime        bool             `json:"reportTime"`
	ReportCompression bool             `json:"reportCompressionRatio"`
	IsServer          bool             `json:"isServer"` // the suite is the server
	Expected          map[string][]any `json:"expected"`
	ExpectedClose     map[string]any   `json:"expectedClose"`
	Received          []any            `json:"received"`
	ClosedByMe        bool             `json:"closedByMe"`
	FailedByMe        bool             `json:"failedByMe"`
	DroppedByMe       bool             `json:"droppedByMe"`
	WasClean          bool             `json:"wasClean"`
	WasNotCleanReason *string          `json:"wasNotCleanReason"`
	DropTimeout       bool             `json:"wasServerConnectionDropTimeout"`
	OpenTimeout       bool             `json:"wasOpenHandshakeTimeout"`
	CloseTimeout      bool             `json:"wasCloseHandshakeTimeout"`
	LocalCloseCode    *int             `json:"localCloseCode"`
	LocalCloseReason  *string          `json:"localCloseReason"`
	RemoteCloseCode   *int             `json:"remoteCloseCode"`
	RemoteCloseReason *string          `json:"remoteCloseReason"`
	HTTPRequest       string           `json:"httpRequest"`
	HTTPResponse      string           `json:"httpResponse"`
	CreateStats       bool             `json:"createStats"`
	CreateWirelog     bool             `json:"createWirelog"`
	RxFrameStats      map[string]int   `json:"rxFrameStats"`
	TxFrameStats      map[string]int   `json:"txFrameStats"`
	RxOctetStats      map[string]int   `json:"rxOctetStats"`
	TxOctetStats      map[string]int   `json:"txOctetStats"`
	TrafficStats      any              `json:"trafficStats"`
	Wirelog           [][]any          `json:"wirelog"`
}

func (s *session) detail(request, response string) *Detail {
	c := s.c
	d := &Detail{
		ID: c.ID, Description: c.Sends, Expectation: c.Expects, Behavior: s.behavior, BehaviorClose: s.behaviorClose,
		Result: s.explanation, ResultClose: s.closeNote, Started: s.started.UTC().Format("2006-01-02T15:04:05.000Z"),
		ReportTime: c.untimed, ReportCompression: c.deflate != nil, IsServer: s.server,
		Expected:      map[string][]any{},
		ExpectedClose: map[string]any{"closedByMe": c.closing.byMe, "closeCode": c.closing.codes, "requireClean": c.closing.clean},
		Received:      listEvents(s.received), ClosedByMe: s.closedByMe, FailedByMe: s.failedByMe, DroppedByMe: s.droppedByMe, WasClean: s.clean,
		DropTimeout: s.dropTimedOut, OpenTimeout: s.openTimedOut, CloseTimeout: s.closeTimedOut, HTTPRequest: request, HTTPResponse: response,
		CreateStats: true, CreateWirelog: !s.log.off, Wirelog: s.log.rows,
		RxFrameStats: frameStats(&s.log.rxFrames), TxFrameStats: frameStats(&s.log.txFrames),
		RxOctetStats: octetStats(s.log.rxOctets), TxOctetStats: octetStats(s.log.txOctets),
	}
	if c.play == nil && s.opened {
		d.Expected[OK] = listEvents(c.ok)
		if c.nonStrict != nil {
			d.Expected[NonStrict] = listEvents(*c.nonStrict)
		}
	}
	if s.uncleanReason != "" {
		d.WasNotCleanReason = &s.uncleanReason
	}
	if s.localCode >= 0 {
		d.LocalCloseCode = &s.localCode
		if s.localReason != "" {
			reason := textSample([]byte(s.localReason), len(s.localReason))
			d.LocalCloseReason = &reason
		}
	}
	if s.remoteCode >= 0 {
		d.RemoteCloseCode = &s.remoteCode
		if s.remoteReason != "" {
			reason := textSample([]byte(s.remoteReason), len(s.remoteReason))
			d.RemoteCloseReason = &reason
		}
	}
	if d.Wirelog == nil {
		d.Wirelog = [][]any{}
	}
	return d
}

func listEvents(events []event) []any {
	list := []any{}
	for _, e := range events {
		row := []any{e.kind, textSample(e.data, len(e.data))}
		if e.kind == "message" {
			row = append(row, e.binary)
		}
		list = append(list, row)
	}
	return list
}

func frameStats(counts *[16]int) map[string]int {
	m := map[string]int{}
	for op, n := range counts {
		if n > 0 {
			m[strconv.Itoa(op)] = n
		}
	}
	return m
}

func octetStats(counts map[int]int) map[string]int {
	m := map[string]int{}
	for size, n := range counts {
		m[strconv.Itoa(size)] = n
	}
	return m
}
