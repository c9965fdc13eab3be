package web

import (
	"net/http"

	"github.com/spacegrid/spacegrid/gateway/form"
)

func (s *Server) listSpaces(w http.ResponseWriter, r *http.Request) error {
	defs, err := s.grid.Spaces(r.Context())
	if err != nil {
		return err
	}
	list := make([]form.Definition, len(defs))
	for i := range defs {
		list[i] = form.DefinitionOf(s.grid, &defs[i])
	}
	return writeJSON(w, http.StatusOK, map[string][]form.Definition{"spaces": list})
}

// createSpace defines a space. Doing so again in the same words is no error.
func (s *Server) createSpace(w http.ResponseWriter, r *http.Request) error {
	var d form.Definition
	if err := readJSON(r, &d); err != nil {
		return err
	}
	def, err := d.Parse(r.Context(), s.grid)
	if err != nil {
		return err
	}
	made, err := s.grid.CreateSpace(r.Context(), def)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/spaces/"+made.Name)
	return writeJSON(w, http.StatusCreated, form.DefinitionOf(s.grid, &made))
}

// describeSpace tells how a space is defined, and how far its new indexes are.
func (s *Server) describeSpace(w http.ResponseWriter, r *http.Request) error {
	def, err := s.space(r)
	if err != nil {
		return err
	}
	d, err := form.Describe(r.Context(), s.grid, &def)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, d)
}

// alterSpace changes what may change of a space, as a whole or not at all.
func (s *Server) alterSpace(w http.ResponseWriter, r *http.Request) error {
	var a form.Alteration
	if err := readJSON(r, &a); err != nil {
		return err
	}
	alteration, err := a.Parse()
	if err != nil {
		return err
	}
	def, err := s.grid.AlterSpace(r.Context(), r.PathValue("space"), alteration)
	if err != nil {
		return err
	}
	d, err := form.Describe(r.Context(), s.grid, &def)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, d)
}

func (s *Server) dropSpace(w http.ResponseWriter, r *http.Request) error {
	if err := s.grid.DropSpace(r.Context(), r.PathValue("space")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
