package web

import (
	_ "embed" // the OpenAPI document
	"net/http"

	"github.com/spacegrid/spacegrid/grid/space"
)

// openapiDocument describes every route of this package.
//
//go:embed openapi.json
var openapiDocument []byte

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) error {
	return writeBody(w, http.StatusOK, typeJSON, openapiDocument)
}

// inspect returns a handler that passes on what this member says of itself.
func inspect(what string) func(*Server, http.ResponseWriter, *http.Request) error {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		if s.config.Self == "" {
			return problem(codeNotFound, "this process is no member, it has nothing to say of itself")
		}
		b, err := s.grid.Inspect(r.Context(), s.config.Self, what)
		if err != nil {
			return err
		}
		return writeBody(w, http.StatusOK, typeJSON, append(b, '\n'))
	}
}

// codeJSON is a code as clients read about it.
type codeJSON struct {
	Code      string `json:"code"`
	Name      string `json:"name"`
	Status    int    `json:"status"`
	Retryable bool   `json:"retryable"`
	Means     string `json:"means"`
	Hint      string `json:"hint,omitempty"`
}

func (s *Server) listErrors(w http.ResponseWriter, _ *http.Request) error {
	var list []codeJSON
	for _, c := range Codes() {
		list = append(list, codeJSON{c.ID, c.Name, c.Status, c.Retryable, c.Means, c.Hint})
	}
	return writeJSON(w, http.StatusOK, map[string][]codeJSON{"errors": list})
}

func (s *Server) explainError(w http.ResponseWriter, r *http.Request) error {
	for _, c := range Codes() {
		if want := r.PathValue("code"); want == c.ID || want == c.Name {
			return writeJSON(w, http.StatusOK, codeJSON{c.ID, c.Name, c.Status, c.Retryable, c.Means, c.Hint})
		}
	}
	return &space.Error{Code: space.CodeNotFound, Detail: "there is no such code"}
}
