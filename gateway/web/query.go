package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// maxTake bounds what one take removes: it is one command of one partition.
const maxTake = space.MaxOps

// flushBytes is how much of a streamed answer is gathered before it is sent.
const flushBytes = 32 << 10

// matchRequest is the body of read, take, query, change, claim and explain.
type matchRequest struct {
	filterRequest
	Limit     int  `json:"limit"`
	AllowScan bool `json:"allow_scan"`
	// Local reads what the nearest replica has, which may be old.
	Local bool `json:"local"`
	// WaitMS is how long to wait for an entry, if there is none.
	WaitMS int `json:"wait_ms"`
}

// filterRequest says which entries are meant.
type filterRequest struct {
	Template json.RawMessage `json:"template"`
	Where    string          `json:"where"` // a condition
	Args     json.RawMessage `json:"args"`  // of the condition
}

// filter returns the filter, nil if everything passes.
func (q *filterRequest) filter() (grid.Filter, error) {
	t, err := form.ParseTemplate(q.Template)
	if err != nil {
		return nil, err
	}
	args, err := form.ParseArgs(q.Args)
	if err != nil {
		return nil, err
	}
	f := form.Filter{Template: t, Where: q.Where, Args: args}
	return f.Parse()
}

// parseMatch reads the body of a request for matching entries.
func parseMatch(r *http.Request, limit int) (matchRequest, grid.Filter, error) {
	m := matchRequest{Limit: limit}
	if err := readJSON(r, &m); err != nil {
		return m, nil, err
	}
	if m.Limit < 0 {
		return m, nil, invalid("the limit is negative", "")
	}
	f, err := m.filter()
	return m, f, err
}

// readMatch answers with the first entries that match, one if nothing is said;
// none is an error.
func (s *Server) readMatch(w http.ResponseWriter, r *http.Request) error {
	m, f, err := parseMatch(r, 1)
	if err != nil {
		return err
	}
	wait, ctx, end, err := s.patience(w, r, m.WaitMS)
	if err != nil {
		return err
	}
	if wait > 0 {
		if m.Local {
			return end(invalid("a read that waits is never local", ""))
		}
		es, err := s.grid.ReadMatch(ctx, r.PathValue("space"), f, grid.ReadOptions{Limit: min(max(m.Limit, 1), s.limits.QueryEntries), Wait: wait, AllowScan: m.AllowScan})
		if err = end(err); err != nil {
			return err
		}
		return sendEntries(w, es)
	}
	a, err := s.gather(r.WithContext(ctx), m, f)
	if err = end(err); err != nil {
		return err
	}
	if a.count == 0 {
		return problem(codeNotFound, "nothing matches")
	}
	return a.send(w)
}

// takeMatch removes entries that match, one if nothing is said, and answers
// with them; none is an error.
func (s *Server) takeMatch(w http.ResponseWriter, r *http.Request) error {
	m, f, err := parseMatch(r, 1)
	switch {
	case err != nil:
		return err
	case m.Local:
		return invalid("a take is never local", "")
	case m.Limit == 0 || m.Limit > maxTake:
		return invalid(fmt.Sprintf("a take removes 1 to %d entries", maxTake), "repeat it for more")
	}
	wait, ctx, end, err := s.patience(w, r, m.WaitMS)
	if err != nil {
		return err
	}
	es, err := s.grid.TakeMatch(ctx, r.PathValue("space"), f, grid.TakeOptions{Limit: m.Limit, Wait: wait, AllowScan: m.AllowScan})
	if err = end(err); err != nil {
		return err
	}
	return sendEntries(w, es)
}

// sendEntries answers with all of some entries.
func sendEntries(w http.ResponseWriter, es []grid.Entry) error {
	var a answer
	for i := range es {
		if err := a.add(&es[i]); err != nil {
			return err
		}
	}
	return a.send(w)
}

// query answers with all entries that match, as one object within its limits, or
// as a stream of lines without any.
func (s *Server) query(w http.ResponseWriter, r *http.Request) error {
	m, f, err := parseMatch(r, 0)
	if err != nil {
		return err
	}
	if m.WaitMS != 0 {
		return invalid("a query does not wait", "read, take and claim do")
	}
	if r.URL.Query().Get("stream") == "1" || strings.Contains(r.Header.Get("Accept"), typeLines) {
		return s.streamQuery(w, r, m, f)
	}
	ctx, cancel := s.bounded(r.Context(), s.limits.RequestTimeout)
	defer cancel()
	a, err := s.gather(r.WithContext(ctx), m, f)
	if err != nil {
		return err
	}
	return a.send(w)
}

// answer is an object of entries in the making.
type answer struct {
	body  []byte
	count int
	more  bool // there are more than the limits allow
}

func (a *answer) add(e *grid.Entry) (err error) {
	if a.count == 0 {
		a.body = append(a.body, `{"entries":[`...)
	} else {
		a.body = append(a.body, ',')
	}
	a.count++
	a.body, err = appendEntry(a.body, e)
	return err
}

func (a *answer) send(w http.ResponseWriter) error {
	if a.count == 0 {
		a.body = append(a.body, `{"entries":[`...)
	}
	a.body = fmt.Appendf(a.body, `],"more":%t}`+"\n", a.more)
	return writeBody(w, http.StatusOK, typeJSON, a.body)
}

// gather collects the entries that match, up to the limits of one object.
func (s *Server) gather(r *http.Request, m matchRequest, f grid.Filter) (*answer, error) {
	a := &answer{}
	most := s.limits.QueryEntries
	o := grid.QueryOptions{Limit: m.Limit, AllowScan: m.AllowScan, Local: m.Local}
	if o.Limit == 0 || o.Limit > most {
		o.Limit = most + 1 // one more tells whether there are more
	}
	for e, err := range s.grid.Query(r.Context(), r.PathValue("space"), f, o) {
		if err != nil {
			return nil, err
		}
		if a.count == most || len(a.body)+len(e.Value) > s.limits.QueryBytes {
			a.more = true
			break
		}
		if err := a.add(&e); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// streamQuery sends matching entries as lines while they are found. The last
// line of a stream that breaks off is {"error": problem}; a complete one ends
// with {"end": count}, so that a cut connection is not taken for the end.
func (s *Server) streamQuery(w http.ResponseWriter, r *http.Request, m matchRequest, f grid.Filter) error {
	rc := http.NewResponseController(w)
	var buf []byte
	count, begun := 0, false
	flush := func() error {
		begun = true
		// Each part has its own time; a recorder has no deadlines and is not slow.
		_ = rc.SetWriteDeadline(time.Now().Add(s.limits.BodyTimeout))
		if _, err := w.Write(buf); err != nil {
			return errAnswered
		}
		buf = buf[:0]
		// A writer that cannot flush sends at the end.
		_ = rc.Flush()
		return nil
	}
	w.Header().Set("Content-Type", typeLines)
	w.Header().Set("Cache-Control", "no-store")
	o := grid.QueryOptions{Limit: m.Limit, AllowScan: m.AllowScan, Local: m.Local}
	for e, err := range s.grid.Query(r.Context(), r.PathValue("space"), f, o) {
		if err == nil {
			buf, err = appendEntry(buf, &e)
		}
		if err != nil && !begun && count == 0 {
			return err
		}
		if err != nil {
			text, failed := json.Marshal(map[string]*Problem{"error": problemOf(err)})
			if failed != nil {
				return failed
			}
			buf = append(append(buf, text...), '\n')
			return flush()
		}
		buf = append(buf, '\n')
		count++
		if len(buf) >= flushBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	buf = fmt.Appendf(buf, `{"end":%d}`+"\n", count)
	return flush()
}
