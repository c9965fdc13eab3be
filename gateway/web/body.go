package web

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space"
)

// The media types of bodies.
const (
	typeJSON  = "application/json"
	typeLines = "application/jsonl"
	typeBytes = "application/octet-stream"
)

// mediaType returns the type of a request's body without its parameters. A body
// of unstated type is JSON.
func mediaType(r *http.Request) (string, error) {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return typeJSON, nil
	}
	t, _, err := mime.ParseMediaType(header)
	switch {
	case err != nil:
		return "", problem(codeMediaType, "the Content-Type cannot be read")
	case strings.HasSuffix(t, "+json"), t == "text/json":
		return typeJSON, nil
	case t == "application/x-ndjson", t == "application/ndjson", t == "application/json-lines", t == "application/x-jsonlines":
		return typeLines, nil
	case t == typeJSON, t == typeLines, t == typeBytes:
		return t, nil
	case t == "application/x-www-form-urlencoded":
		// What command line clients say when they are told nothing.
		return typeJSON, nil
	}
	return "", problem(codeMediaType, t+" is not understood here")
}

// readBody reads the whole body, whose size run has bounded.
func readBody(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil && problemOf(err).Code == codeInternal.ID {
		return nil, problem(codeInvalid, "the body could not be read: "+err.Error())
	}
	return b, err
}

// readJSON reads a body that is one JSON object of known members into v, which
// keeps its present values where the body says nothing. An empty body is {}.
func readJSON(r *http.Request, v any) error {
	t, err := mediaType(r)
	if err != nil {
		return err
	}
	if t != typeJSON {
		return problem(codeMediaType, "this takes application/json")
	}
	b, err := readBody(r)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return err
	}
	return decodeStrict(b, v)
}

// decodeStrict decodes exactly one JSON value and refuses members that v does
// not have: a misspelt one would silently mean something else.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return invalid("malformed JSON: "+strings.TrimPrefix(err.Error(), "json: "), "")
	}
	if _, err := d.Token(); err != io.EOF {
		return invalid("there is something after the JSON value", "")
	}
	return nil
}

// writeJSON sends a value as the response.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeBody(w, status, typeJSON, append(b, '\n'))
}

func writeBody(w http.ResponseWriter, status int, contentType string, b []byte) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		return errAnswered // the client has gone
	}
	return nil
}

// entryKey returns the key that the path names.
func entryKey(r *http.Request) ([]byte, error) {
	key := r.PathValue("key")
	if len(key) > space.MaxKeyBytes {
		return nil, problem(codeTooLarge, "a key has at most 1024 bytes")
	}
	return []byte(key), nil
}
