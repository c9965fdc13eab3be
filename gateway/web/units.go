package web

import (
	"encoding/json"
	"net/http"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// invoke calls a handler of a unit: request and response are JSON here and
// canonical msgpack there.
func (s *Server) invoke(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Key     json.RawMessage `json:"key"`
		Request json.RawMessage `json:"request"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if len(in.Key) == 0 {
		return invalid("the call has no key", "it decides which partition the handler runs beside")
	}
	k, err := msgp.FromJSON(nil, in.Key)
	if err != nil {
		return err
	}
	key, err := grid.KeyOf(k)
	if err != nil {
		return err
	}
	if len(in.Request) == 0 {
		in.Request = json.RawMessage("null")
	}
	request, err := msgp.FromJSON(nil, in.Request)
	if err != nil {
		return err
	}
	response, err := s.grid.Call(r.Context(), r.PathValue("unit"), r.PathValue("handler"), key, request)
	if err != nil {
		return err
	}
	body := []byte(`{"response":`)
	if len(response) == 0 {
		body = append(body, "null"...)
	} else if body, err = msgp.AppendJSON(body, response); err != nil {
		return err
	}
	return writeBody(w, http.StatusOK, typeJSON, append(body, '}', '\n'))
}
