package web

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/spacegrid/spacegrid/gateway/form"
)

// aggregate computes over the entries that match, beside the data.
func (s *Server) aggregate(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		filterRequest
		form.Aggregate
	}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	f, err := q.filter()
	if err != nil {
		return err
	}
	spec, parts, err := q.Aggregate.Parse()
	if err != nil {
		return err
	}
	result, err := s.grid.Aggregate(r.Context(), r.PathValue("space"), f, spec, parts...)
	if err != nil {
		return err
	}
	head, err := json.Marshal(map[string][]string{"groups": append([]string{}, result.Groups...), "columns": result.Columns})
	if err != nil {
		return err
	}
	body := slices.Concat(head[:len(head)-1], []byte(`,"rows":[`))
	for i := range result.Rows {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = form.AppendRow(body, result, i); err != nil {
			return err
		}
	}
	return writeBody(w, http.StatusOK, typeJSON, append(body, "]}\n"...))
}

// explain tells how a query would find its entries, and what that costs.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	m, f, err := parseMatch(r, 0)
	if err != nil {
		return err
	}
	e, err := s.grid.Explain(r.Context(), r.PathValue("space"), f, m.Limit, m.AllowScan)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, form.ExplanationOf(&e))
}
