package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The suite's words for the outcome of a case.
const (
	outcomeOK            = "OK"
	outcomeInformational = "INFORMATIONAL"
)

// A Result is what the suite's index.json says of one case.
type Result struct {
	Behavior        string `json:"behavior"`      // what was received: OK, INFORMATIONAL, NON-STRICT, UNIMPLEMENTED, FAILED
	BehaviorClose   string `json:"behaviorClose"` // how it ended: the same, or UNCLEAN, WRONG CODE, FAILED BY CLIENT
	RemoteCloseCode *int   `json:"remoteCloseCode"`
	Duration        int    `json:"duration"` // in milliseconds
	ReportFile      string `json:"reportfile"`
}

// A Report is the outcome of one run, by case id.
type Report struct {
	Results map[string]Result
	dir     string // where index.json and the cases' own files lie
}

// ReadReport reads an index.json of the suite, which must be about agent and no
// other.
//
// The suite writes "{}" when it could not reach the peer, and keeps the results
// of every agent that ever came along. Neither may pass for a result of ours.
func ReadReport(path, agent string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var agents map[string]map[string]Result
	if err := json.Unmarshal(data, &agents); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(agents) == 0 {
		return nil, fmt.Errorf("%s holds no results: the suite has not reached its peer", path)
	}
	results, ok := agents[agent]
	if !ok || len(agents) != 1 {
		names := slices.Sorted(maps.Keys(agents))
		return nil, fmt.Errorf("%s is about %q, not about %q alone", path, strings.Join(names, ", "), agent)
	}
	return &Report{Results: results, dir: filepath.Dir(path)}, nil
}

// A detail is what a case's own file says beyond index.json.
type detail struct {
	Result      string `json:"result"`
	ResultClose string `json:"resultClose"`
}

// detail reads the file of one case. One that is absent is no error: it only
// tells less.
func (r *Report) detail(id string) (detail, error) {
	name := r.Results[id].ReportFile
	if name == "" || name != filepath.Base(name) {
		return detail{}, nil
	}
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return detail{}, nil
	}
	if err != nil {
		return detail{}, err
	}
	var d detail
	if err := json.Unmarshal(data, &d); err != nil {
		return detail{}, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}
