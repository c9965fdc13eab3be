package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// conditionQuery reads the condition of a request on one entry: ?if= and, as JSON,
// its arguments in ?args=.
func conditionQuery(r *http.Request) (text string, args []any, err error) {
	query := r.URL.Query()
	args, err = form.ParseArgs([]byte(query.Get("args")))
	return query.Get("if"), args, err
}

// changeRequest is the body of a change: mutations, or an array of them alone.
type changeRequest struct {
	Mutations json.RawMessage `json:"mutations"`
	// If is what must hold of the entry.
	If   string          `json:"if"`
	Args json.RawMessage `json:"args"`
}

func parseChange(body []byte) (c changeRequest, err error) {
	if body = bytes.TrimSpace(body); len(body) > 0 && body[0] == '[' {
		c.Mutations = body
		return c, nil
	}
	err = decodeStrict(body, &c)
	return c, err
}

// changeEntry applies mutations to the entry under the key of the path and
// answers with the entry made. ?create=1 starts from nothing if there is none.
func (s *Server) changeEntry(w http.ResponseWriter, r *http.Request) error {
	res, err := s.do(r, space.Op{Code: space.OpChange, Flags: space.FlagReturn}, func(def *space.Definition, op *space.Op) error {
		body, err := readBody(r)
		if err != nil {
			return err
		}
		c, err := parseChange(body)
		if err != nil {
			return err
		}
		if op.Mutations, err = form.ParseMutations(c.Mutations); err != nil {
			return err
		}
		if c.If != "" || len(c.Args) > 0 {
			if r.URL.Query().Has("if") {
				return invalid("the condition stands in the body and in the query", "give it once")
			}
			args, err := form.ParseArgs(c.Args)
			if err == nil {
				err = form.Require(op, def, c.If, args)
			}
			if err != nil {
				return err
			}
		}
		if r.URL.Query().Get("create") == "1" {
			op.Flags |= space.FlagCreate
			if op.Kind = space.KindBytes; op.Mutations[0].Field != "" {
				op.Kind = space.KindFields
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	made := res.Entries[0]
	made.Version = res.Version
	return writeEntryBody(w, http.StatusOK, &made)
}

// changeMatch changes entries that match, one if nothing is said, and answers with
// what they have become; none is an error.
func (s *Server) changeMatch(w http.ResponseWriter, r *http.Request) error {
	m := struct {
		matchRequest
		Mutations json.RawMessage `json:"mutations"`
	}{matchRequest: matchRequest{Limit: 1}}
	if err := readJSON(r, &m); err != nil {
		return err
	}
	f, err := m.filter()
	switch {
	case err != nil:
		return err
	case m.Local:
		return invalid("a change is never local", "")
	case m.WaitMS != 0:
		return invalid("a change does not wait", "take or claim an entry, which can")
	case m.Limit < 1 || m.Limit > maxTake:
		return invalid(fmt.Sprintf("a change is of 1 to %d entries", maxTake), "repeat it for more")
	}
	ms, err := form.ParseMutations(m.Mutations)
	if err != nil {
		return err
	}
	parts := form.Changes(ms)
	if m.AllowScan {
		parts = append(parts, grid.AllowScan())
	}
	es, err := s.grid.ChangeMatch(r.Context(), r.PathValue("space"), f, m.Limit, parts...)
	if err != nil {
		return err
	}
	return sendEntries(w, es)
}
