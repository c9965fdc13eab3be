package form

import "github.com/spacegrid/spacegrid/grid"

// Explanation is how a filter is answered, as JSON says it.
type Explanation struct {
	Space      string   `json:"space"`
	Partitions int      `json:"partitions"`
	Ways       []Way    `json:"ways"`
	Unused     []Unused `json:"unused,omitempty"` // indexes that were not taken
	Text       string   `json:"text"`             // the same for people
}

// Way is how some partitions find what matches.
type Way struct {
	Index      string `json:"index,omitempty"` // absent: every entry is looked at
	Conditions string `json:"conditions,omitempty"`
	Why        string `json:"why"`
	Partitions int    `json:"partitions"`
	Refused    int    `json:"refused,omitempty"` // partitions where the scan limit ended it
	ScanLimit  int    `json:"scan_limit,omitempty"`
	Expected   int    `json:"expected"` // entries that were expected to be examined
	AtLeast    bool   `json:"at_least,omitempty"`
	Examined   int    `json:"examined"`
	Matched    int    `json:"matched"`
}

// Unused is an index that was not taken.
type Unused struct {
	Index      string `json:"index"`
	Why        string `json:"why"`
	Partitions int    `json:"partitions"`
}

// ExplanationOf returns the form of an explanation.
func ExplanationOf(e *grid.Explanation) Explanation {
	out := Explanation{Space: e.Space, Partitions: e.Partitions, Ways: []Way{}, Text: e.String()}
	for _, w := range e.Ways {
		out.Ways = append(out.Ways, Way{
			Index: w.Index, Conditions: w.Conditions, Why: w.Why, Partitions: w.Partitions, Refused: w.Refused,
			ScanLimit: w.ScanLimit, Expected: w.Estimated, AtLeast: w.AtLeast, Examined: w.Examined, Matched: w.Matched,
		})
	}
	for _, u := range e.Unused {
		out.Unused = append(out.Unused, Unused(u))
	}
	return out
}
