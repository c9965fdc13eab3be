package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/gateway/web"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/spacetest"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Over HTTP spaces are what they are in the library.
func TestConforms(t *testing.T) {
	d := open(t, web.Config{})
	spacetest.Run(t, front{d}, "entries/a request that is repeated takes effect once", "waits/so is one that waits for a key")
}

// front is the door as the suite uses it: JSON over real connections.
type front struct{ d *doorTo }

func (f front) Define(ctx context.Context, def space.Definition, deadLetter string) error {
	body := map[string]any{"name": def.Name, "shape": def.Shape.String(), "scan_limit": def.ScanLimit}
	set := func(name string, v any, there bool) {
		if there {
			body[name] = v
		}
	}
	set("group", def.Group, def.Group != "")
	set("routing", def.Routing, def.Routing != "")
	set("claim_lease", def.ClaimLease.String(), def.ClaimLease > 0)
	set("max_attempts", def.MaxAttempts, def.MaxAttempts > 0)
	set("dead_letter", deadLetter, deadLetter != "")
	var list []any
	for _, x := range def.Indexes {
		list = append(list, map[string]any{"name": x.Name, "fields": x.Fields})
	}
	set("indexes", list, list != nil)
	list = nil
	for _, x := range def.Fields {
		list = append(list, map[string]any{"path": x.Path, "type": x.Type.String()})
	}
	set("fields", list, list != nil)
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, _, err = f.send(ctx, "POST", "/v1/spaces", text, nil)
	return err
}

func (f front) Do(ctx context.Context, r spacetest.Request) (out spacetest.Response, err error) {
	base := "/v1/spaces/" + r.Space
	body := map[string]any{}
	set := func(name string, v any, there bool) {
		if there {
			body[name] = v
		}
	}
	set("template", r.Template, r.Template != nil)
	set("where", r.Where, r.Where != "")
	set("limit", r.Limit, r.Limit != 0)
	set("wait_ms", r.Wait.Milliseconds(), r.Wait != 0)
	set("mutations", mutations(r.Mutations), len(r.Mutations) > 0)
	set("token", r.Token, r.Token != "")
	set("uncounted", true, r.Uncounted)
	lease := ""
	if r.Lease != 0 {
		lease = r.Lease.String()
	}
	switch {
	case r.Verb == spacetest.Claim:
		set("key", r.Key, r.Key != "")
		set("lease", lease, lease != "")
	case r.Verb == spacetest.Ack || r.Verb == spacetest.Nack || r.Verb == spacetest.Extend:
		set("key", r.Key, true)
		set("lease", lease, r.Verb == spacetest.Extend && lease != "")
		set("delay_ms", r.Lease.Milliseconds(), r.Verb == spacetest.Nack && r.Lease != 0)
	case r.Verb == spacetest.Count:
		set("columns", []any{"count"}, true)
		delete(body, "limit")
		return f.aggregate(ctx, base, body)
	case r.Verb == spacetest.Aggregate:
		set("columns", texts(r.Columns), true)
		set("group_by", []any{r.GroupBy}, r.GroupBy != "")
		return f.aggregate(ctx, base, body)
	case r.Key != "":
		return f.byKey(ctx, base, r, lease)
	}
	_, answer, err := f.send(ctx, "POST", base+"/"+string(r.Verb), encoded(body), nil)
	if err == nil && len(answer) > 0 {
		out.Entries, err = entries(answer)
	}
	return out, err
}

func texts(list []string) (all []any) {
	for _, s := range list {
		all = append(all, s)
	}
	return all
}

// byKey carries out a request on one entry.
func (f front) byKey(ctx context.Context, base string, r spacetest.Request, lease string) (out spacetest.Response, err error) {
	query := url.Values{}
	if r.Where != "" {
		query.Set("if", r.Where)
	}
	if r.Create {
		query.Set("create", "1")
	}
	headers := map[string]string{}
	if r.Version != 0 {
		headers["If-Match"] = strconv.Quote(fmt.Sprint(r.Version))
	}
	if r.IfPresent {
		headers["If-Match"] = "*"
	}
	if r.IfAbsent {
		headers["If-None-Match"] = "*"
	}
	method, body := map[spacetest.Verb]string{spacetest.Write: "PUT", spacetest.Read: "GET", spacetest.Take: "DELETE", spacetest.Change: "PATCH"}[r.Verb], []byte(nil)
	switch r.Verb {
	case spacetest.Write:
		if lease != "" {
			query.Set("lease", lease)
		}
		if body = encoded(r.Fields); r.Fields == nil {
			body, headers["Content-Type"] = r.Bytes, "application/octet-stream"
		}
	case spacetest.Take:
		query.Set("return", "1")
		if r.Wait != 0 {
			return out, spacetest.ErrNotOffered
		}
	case spacetest.Change:
		body = encoded(mutations(r.Mutations))
	}
	header, answer, err := f.send(ctx, method, base+"/entries/"+url.PathEscape(r.Key)+"?"+query.Encode(), body, headers)
	if err != nil {
		return out, err
	}
	version, err := strconv.ParseUint(strings.Trim(header.Get("ETag"), `"`), 10, 64)
	if out.Version = space.Seq(version); err != nil || r.Verb == spacetest.Write {
		return out, err
	}
	e := spacetest.Entry{Key: r.Key, Version: out.Version, Bytes: answer}
	if header.Get("Content-Type") == "application/json" {
		e.Bytes = nil
		e.Fields, err = fieldsOf(answer)
	}
	out.Entries = []spacetest.Entry{e}
	return out, err
}

func (f front) aggregate(ctx context.Context, base string, body map[string]any) (out spacetest.Response, err error) {
	_, answer, err := f.send(ctx, "POST", base+"/aggregate", encoded(body), nil)
	if err != nil {
		return out, err
	}
	all, err := fieldsOf(answer)
	if err != nil {
		return out, err
	}
	for _, row := range all["rows"].([]any) {
		out.Rows = append(out.Rows, row.(map[string]any))
	}
	out.Count, _ = out.Rows[0]["count"].(int64)
	return out, nil
}

func mutations(ms []spacetest.Mutation) []any {
	all := []any{}
	for _, m := range ms {
		one := map[string]any{"op": m.Op, "path": m.Path}
		for name, v := range map[string]any{"min": m.Min, "max": m.Max} {
			if v != nil {
				one[name] = v
			}
		}
		if m.Op != "unset" {
			one["value"] = m.Value
		}
		all = append(all, one)
	}
	return all
}

// encoded returns a value as JSON of the grid's dialect; what is no number is
// written all the same, for the door to refuse.
func encoded(v any) []byte {
	value, err := msgp.AppendValue(nil, v)
	if err == nil {
		var text []byte
		if text, err = msgp.AppendJSON(nil, value); err == nil {
			return text
		}
	}
	return []byte(crude(v))
}

// crude writes JSON without looking at what it is.
func crude(v any) string {
	var parts []string
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			parts = append(parts, strconv.Quote(name)+":"+crude(x))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		for _, x := range v {
			parts = append(parts, crude(x))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case string:
		return strconv.Quote(v)
	case float64:
		if math.IsNaN(v) {
			return "NaN"
		}
	}
	return fmt.Sprint(v)
}

func fieldsOf(text []byte) (map[string]any, error) {
	value, err := msgp.FromJSON(nil, text)
	if err != nil {
		return nil, err
	}
	v, err := msgp.Decode(value)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// entries reads the entries of an answer.
func entries(text []byte) (all []spacetest.Entry, err error) {
	var answer struct {
		Entries []struct {
			Key      string          `json:"key"`
			Value    json.RawMessage `json:"value"`
			Version  uint64          `json:"version"`
			Token    string          `json:"token"`
			Attempts int             `json:"attempts"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("%w in %s", err, text)
	}
	for _, x := range answer.Entries {
		e := spacetest.Entry{Key: x.Key, Version: space.Seq(x.Version), Token: x.Token, Attempts: x.Attempts}
		value, err := msgp.FromJSON(nil, x.Value)
		if err != nil {
			return nil, err
		}
		v, err := msgp.Decode(value)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case map[string]any:
			e.Fields = v
		case []byte:
			e.Bytes = v
		}
		all = append(all, e)
	}
	return all, nil
}

var refusals = map[string]error{
	"NOT_FOUND": grid.ErrNotFound, "EXISTS": grid.ErrExists, "CONFLICT": grid.ErrConflict, "WRONG_KIND": grid.ErrWrongKind,
	"INVALID": grid.ErrInvalid, "TOO_LARGE": grid.ErrTooLarge, "SPACE_NOT_FOUND": grid.ErrNoSpace, "OUT_OF_RANGE": grid.ErrRange,
	"UNMET": grid.ErrUnmet, "FENCED": grid.ErrFenced, "CLAIMED": grid.ErrClaimed, "SCAN_REFUSED": grid.ErrScanRefused,
}

// send makes a request and turns a problem into the error that it stands for.
func (f front) send(ctx context.Context, method, path string, body []byte, headers map[string]string) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.d.addr+path, strings.NewReader(string(body)))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode < 300 {
		return resp.Header, answer, err
	}
	var p web.Problem
	if err := json.Unmarshal(answer, &p); err != nil {
		return nil, nil, fmt.Errorf("%w in %s", err, answer)
	}
	if refused, ok := refusals[p.Name]; ok {
		return nil, nil, fmt.Errorf("%w: %s", refused, p.Message)
	}
	return nil, nil, &p
}
