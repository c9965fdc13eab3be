package web

import (
	"net/http"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// space returns the definition of the space that the path names.
func (s *Server) space(r *http.Request) (space.Definition, error) {
	return s.grid.Describe(r.Context(), r.PathValue("space"))
}

// do carries out one operation on the entry that the path names. complete adds
// what the request says beyond space and key.
func (s *Server) do(r *http.Request, op space.Op, complete func(*space.Definition, *space.Op) error) (space.Result, error) {
	def, err := s.space(r)
	if err == nil {
		op.Key, err = entryKey(r)
	}
	op.Space = def.ID
	if err == nil && complete != nil {
		err = complete(&def, &op)
	}
	if err != nil {
		return space.Result{}, err
	}
	conditional := false
	if op.Code != space.OpRead {
		text, args, err := conditionQuery(r)
		if err == nil && op.Predicate == nil {
			err = form.Require(&op, &def, text, args)
		}
		if err != nil {
			return space.Result{}, err
		}
		if conditional, err = precondition(r, &op); err != nil {
			return space.Result{}, err
		}
	}
	b := s.grid.NewBatch()
	var at int
	if op.Code == space.OpRead {
		at = b.Get(op.Space, op.Key)
	} else {
		at = b.Do(op)
	}
	if err := s.grid.Run(r.Context(), b); err != nil {
		return space.Result{}, err
	}
	res, err := b.Result(at)
	if conditional && err != nil {
		err = failedPrecondition(err)
	}
	return res, err
}

func (s *Server) readEntry(w http.ResponseWriter, r *http.Request) error {
	res, err := s.do(r, space.Op{Code: space.OpRead}, nil)
	if err != nil {
		return err
	}
	e := &res.Entries[0]
	tag := etag(e.Version)
	if notModified(r, tag) {
		w.Header().Set("ETag", tag)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeEntryBody(w, http.StatusOK, e)
}

// writeEntryBody answers with an entry's value, its version as the ETag.
func writeEntryBody(w http.ResponseWriter, status int, e *space.Entry) error {
	h := w.Header()
	h.Set("ETag", etag(e.Version))
	h.Set("Cache-Control", "no-cache") // may be kept, but asked about each time
	if e.Kind == space.KindBytes {
		return writeBody(w, status, typeBytes, e.Value)
	}
	body, err := appendEntryValue(nil, &grid.Entry{Value: e.Value, Kind: e.Kind})
	if err != nil {
		return err
	}
	return writeBody(w, status, typeJSON, append(body, '\n'))
}

// writeEntry writes the body under the key of the path: fields if it is JSON,
// bytes otherwise.
func (s *Server) writeEntry(w http.ResponseWriter, r *http.Request) error {
	res, err := s.do(r, space.Op{Code: space.OpWrite}, func(_ *space.Definition, op *space.Op) (err error) {
		if op.Lease, err = parseLease(r.URL.Query().Get("lease")); err != nil {
			return err
		}
		op.Kind, op.Value, err = readValue(r)
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(res.Version))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readValue reads the body as an entry's value.
func readValue(r *http.Request) (space.Kind, []byte, error) {
	t, err := mediaType(r)
	if err != nil {
		return 0, nil, err
	}
	body, err := readBody(r)
	switch {
	case err != nil:
		return 0, nil, err
	case t == typeBytes:
		return space.KindBytes, body, nil
	case t == typeJSON:
		value, err := parseFields(body)
		return space.KindFields, value, err
	}
	return 0, nil, problem(codeMediaType, "one entry is application/json or application/octet-stream")
}

// deleteEntry removes the entry under the key of the path. With ?return=1 the
// answer is the entry removed, and none is an error.
func (s *Server) deleteEntry(w http.ResponseWriter, r *http.Request) error {
	op := space.Op{Code: space.OpTake}
	give := r.URL.Query().Get("return") == "1"
	if give {
		op.Flags = space.FlagReturn
	}
	res, err := s.do(r, op, nil)
	if err != nil {
		return err
	}
	if give {
		return writeEntryBody(w, http.StatusOK, &res.Entries[0])
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
