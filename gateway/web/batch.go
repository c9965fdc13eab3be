package web

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// writeModes are the words of ?mode=.
var writeModes = map[string]space.Mode{
	"": space.ModeUpsert, "upsert": space.ModeUpsert, "insert": space.ModeInsert, "update": space.ModeUpdate,
}

// writeEntries writes one entry or many, whose keys come from the field that the
// space's definition names, or are generated. Each succeeds or fails by itself.
func (s *Server) writeEntries(w http.ResponseWriter, r *http.Request) error {
	def, err := s.space(r)
	if err != nil {
		return err
	}
	op := space.Op{Code: space.OpWrite, Space: def.ID, Kind: space.KindFields}
	query := r.URL.Query()
	mode, ok := writeModes[query.Get("mode")]
	if !ok {
		return invalid("unknown mode", "upsert, insert or update")
	}
	op.Mode = mode
	if op.Lease, err = parseLease(query.Get("lease")); err != nil {
		return err
	}
	contentType, err := mediaType(r)
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if contentType == typeBytes {
		op.Kind, op.Key, op.Value = space.KindBytes, []byte(rand.Text()), body
		return s.writeOne(w, r, op)
	}
	texts, single, err := splitEntries(contentType, body)
	switch {
	case err != nil:
		return err
	case single:
		if op.Key, op.Value, err = keyedFields(&def, texts[0]); err != nil {
			return err
		}
		return s.writeOne(w, r, op)
	case len(texts) > s.limits.BatchEntries:
		return problem(codeTooLarge, fmt.Sprintf("a batch has at most %d entries, not %d", s.limits.BatchEntries, len(texts)))
	}
	return s.writeMany(w, r, &def, op, texts)
}

// splitEntries takes a body apart into the texts of entries. single is set if
// it is one object rather than a list.
func splitEntries(contentType string, body []byte) (texts []json.RawMessage, single bool, err error) {
	body = bytes.TrimSpace(body)
	if contentType == typeLines {
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				texts = append(texts, line)
			}
		}
		return texts, false, nil
	}
	if len(body) == 0 || body[0] != '[' {
		return []json.RawMessage{body}, true, nil
	}
	err = decodeStrict(body, &texts)
	return texts, false, err
}

// keyedFields reads an entry and finds its key.
func keyedFields(def *space.Definition, text []byte) (key, value []byte, err error) {
	if value, err = parseFields(text); err != nil {
		return nil, nil, err
	}
	if def.Key == "" {
		return []byte(rand.Text()), value, nil
	}
	field, ok := msgp.Field(value, def.Key)
	if !ok {
		return nil, nil, invalid(fmt.Sprintf("the entry has no field %q, which holds its key", def.Key), "")
	}
	if key, err = grid.KeyOf(field); err != nil {
		return nil, nil, err
	}
	return key, value, nil
}

// written is what became of one entry of a batch.
type written struct {
	Key     json.RawMessage `json:"key,omitempty"`
	Version grid.Version    `json:"version,omitempty"`
	Error   *Problem        `json:"error,omitempty"`
}

func (s *Server) writeOne(w http.ResponseWriter, r *http.Request, op space.Op) error {
	b := s.grid.NewBatch()
	at := b.Do(op)
	if err := s.grid.Run(r.Context(), b); err != nil {
		return err
	}
	res, err := b.Result(at)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", etag(res.Version))
	h.Set("Location", "/v1/spaces/"+url.PathEscape(r.PathValue("space"))+"/entries/"+url.PathEscape(string(op.Key)))
	return writeJSON(w, http.StatusCreated, written{Key: appendKey(nil, op.Key), Version: res.Version})
}

// writeMany answers with what became of each entry, in their order; the status
// says whether all were written.
func (s *Server) writeMany(w http.ResponseWriter, r *http.Request, def *space.Definition, op space.Op, texts []json.RawMessage) error {
	b := s.grid.NewBatch()
	keys := make([]json.RawMessage, len(texts))
	for i, text := range texts {
		var err error
		if op.Key, op.Value, err = keyedFields(def, text); err != nil {
			b.Refuse(err)
			continue
		}
		keys[i] = appendKey(nil, op.Key)
		b.Do(op)
	}
	if err := s.grid.Run(r.Context(), b); err != nil {
		return err
	}
	answer := struct {
		Written int       `json:"written"`
		Failed  int       `json:"failed"`
		Results []written `json:"results"`
	}{Results: make([]written, len(texts))}
	for i := range texts {
		res, err := b.Result(i)
		if err != nil {
			answer.Failed++
			answer.Results[i] = written{Key: keys[i], Error: problemOf(err)}
			continue
		}
		answer.Written++
		answer.Results[i] = written{Key: keys[i], Version: res.Version}
	}
	status := http.StatusOK
	if answer.Failed > 0 {
		status = http.StatusMultiStatus
	}
	return writeJSON(w, status, answer)
}
