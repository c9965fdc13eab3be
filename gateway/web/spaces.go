package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// definition is a space's definition as JSON says it.
type definition struct {
	Name      string      `json:"name"`
	Shape     string      `json:"shape,omitempty"`      // any, fields or bytes; default any
	Key       string      `json:"key,omitempty"`        // the field that holds the key
	Indexes   []indexJSON `json:"indexes,omitempty"`    // hash indexes
	Lease     string      `json:"lease,omitempty"`      // granted by default; none is forever
	ScanLimit int         `json:"scan_limit,omitempty"` // 0 is the default, negative is none
	// Consistency is what this kind of space promises; it cannot be chosen.
	Consistency string `json:"consistency,omitempty"`
}

type indexJSON struct {
	Name   string   `json:"name,omitempty"` // default: the fields, joined by a point
	Fields []string `json:"fields"`
}

func definitionOf(d *space.Definition) definition {
	out := definition{Name: d.Name, Shape: d.Shape.String(), Key: d.Key, ScanLimit: d.ScanLimit, Consistency: "linearizable"}
	for _, x := range d.Indexes {
		out.Indexes = append(out.Indexes, indexJSON{Name: x.Name, Fields: x.Fields})
	}
	if d.Lease > 0 {
		out.Lease = d.Lease.String()
	}
	return out
}

func (d *definition) parse() (space.Definition, error) {
	out := space.Definition{Name: d.Name, Key: d.Key, ScanLimit: d.ScanLimit}
	if d.Consistency != "" && d.Consistency != "linearizable" {
		return out, invalid("unknown consistency", "leave it out: partitioned spaces are linearizable")
	}
	var err error
	if d.Shape != "" {
		if out.Shape, err = space.ParseShape(d.Shape); err != nil {
			return out, err
		}
	}
	if d.Lease != "" && d.Lease != "forever" {
		var lease time.Duration
		if lease, err = parseLease(d.Lease); err != nil {
			return out, err
		}
		out.Lease = lease
	}
	for _, x := range d.Indexes {
		name := x.Name
		if name == "" {
			name = strings.Join(x.Fields, ".")
		}
		out.Indexes = append(out.Indexes, space.Index{Name: name, Fields: x.Fields})
	}
	err = out.Validate()
	return out, err
}

func (s *Server) listSpaces(w http.ResponseWriter, r *http.Request) error {
	defs, err := s.grid.Spaces(r.Context())
	if err != nil {
		return err
	}
	list := make([]definition, len(defs))
	for i := range defs {
		list[i] = definitionOf(&defs[i])
	}
	return writeJSON(w, http.StatusOK, map[string][]definition{"spaces": list})
}

// createSpace defines a space. Doing so again in the same words is no error.
func (s *Server) createSpace(w http.ResponseWriter, r *http.Request) error {
	var d definition
	if err := readJSON(r, &d); err != nil {
		return err
	}
	def, err := d.parse()
	if err != nil {
		return err
	}
	made, err := s.grid.CreateSpace(r.Context(), def)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/spaces/"+made.Name)
	return writeJSON(w, http.StatusCreated, definitionOf(&made))
}

func (s *Server) describeSpace(w http.ResponseWriter, r *http.Request) error {
	def, err := s.space(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, definitionOf(&def))
}

func (s *Server) dropSpace(w http.ResponseWriter, r *http.Request) error {
	if err := s.grid.DropSpace(r.Context(), r.PathValue("space")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
