package web

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestOpenAPIDescribesEveryRoute: the document and the route table name the same
// methods of the same paths, and every reference in the document leads somewhere.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	var doc struct {
		OpenAPI    string                                `json:"openapi"`
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components map[string]map[string]json.RawMessage `json:"components"`
	}
	if err := json.Unmarshal(openapiDocument, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("the document is OpenAPI %s", doc.OpenAPI)
	}
	described := map[string]bool{}
	ids := map[string]string{}
	for path, methods := range doc.Paths {
		for method, text := range methods {
			place := strings.ToUpper(method) + " " + path
			described[place] = true
			var op struct {
				ID         string                      `json:"operationId"`
				Summary    string                      `json:"summary"`
				Responses  map[string]json.RawMessage  `json:"responses"`
				Parameters []struct{ Name, In string } `json:"parameters"`
			}
			if err := json.Unmarshal(text, &op); err != nil {
				t.Fatalf("%s: %v", place, err)
			}
			if op.ID == "" || op.Summary == "" || len(op.Responses) < 2 || ids[op.ID] != "" {
				t.Errorf("%s: an operation has an id of its own (%q), a summary and responses", place, op.ID)
			}
			ids[op.ID] = place
			for segment := range strings.SplitSeq(path, "/") {
				name, isParam := strings.CutPrefix(segment, "{")
				found := false
				for _, p := range op.Parameters {
					found = found || p.In == "path" && p.Name+"}" == name
				}
				if isParam && !found {
					t.Errorf("%s: the parameter %s is not described", place, segment)
				}
			}
		}
	}
	for _, rt := range routes() {
		place := rt.method + " " + rt.path
		if !described[place] {
			t.Errorf("%s is served but not described", place)
		}
		delete(described, place)
	}
	for place := range described {
		t.Errorf("%s is described but not served", place)
	}
	for _, part := range strings.Split(string(openapiDocument), `"$ref": "#/components/`)[1:] {
		kind, rest, _ := strings.Cut(part, "/")
		name, _, _ := strings.Cut(rest, `"`)
		if doc.Components[kind][name] == nil {
			t.Errorf("the reference %s/%s leads nowhere", kind, name)
		}
	}
}
