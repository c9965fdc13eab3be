package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// door is the name of this door in metrics.
const door = "http"

// route is one method of one path. The table below and the OpenAPI document
// name the same ones, which a test checks.
type route struct {
	method string
	path   string // a pattern of http.ServeMux
	op     string // in metrics
	// serve answers, or returns an error of which nothing has been written yet.
	serve func(*Server, http.ResponseWriter, *http.Request) error
	// stream exempts from Limits.RequestTimeout what lasts as long as the
	// client wants, or waits as long as it asks for.
	stream bool
}

func routes() []route {
	return []route{
		{"GET", "/healthz", "health", (*Server).healthz, false},
		{"GET", "/readyz", "health", (*Server).readyz, false},
		{"GET", "/metrics", "metrics", (*Server).publishMetrics, false},
		{"GET", "/openapi.json", "describe", (*Server).openapi, false},
		{"GET", "/v1/errors", "describe", (*Server).listErrors, false},
		{"GET", "/v1/errors/{code}", "describe", (*Server).explainError, false},

		{"GET", "/v1/status", "inspect", inspect("status"), false},
		{"GET", "/v1/members", "inspect", inspect("members"), false},
		{"GET", "/v1/partitions", "inspect", inspect("partitions"), false},
		{"GET", "/v1/pump", "inspect", inspect("pump"), false},
		{"GET", "/v1/subscriptions", "inspect", (*Server).listSubscriptions, false},

		{"GET", "/v1/spaces", "spaces", (*Server).listSpaces, false},
		{"POST", "/v1/spaces", "space_create", (*Server).createSpace, false},
		{"GET", "/v1/spaces/{space}", "space_describe", (*Server).describeSpace, false},
		{"PATCH", "/v1/spaces/{space}", "space_alter", (*Server).alterSpace, false},
		{"DELETE", "/v1/spaces/{space}", "space_drop", (*Server).dropSpace, false},

		{"POST", "/v1/spaces/{space}/entries", "write", (*Server).writeEntries, false},
		{"GET", "/v1/spaces/{space}/entries/{key}", "read", (*Server).readEntry, false},
		{"PUT", "/v1/spaces/{space}/entries/{key}", "write", (*Server).writeEntry, false},
		{"PATCH", "/v1/spaces/{space}/entries/{key}", "change", (*Server).changeEntry, false},
		{"DELETE", "/v1/spaces/{space}/entries/{key}", "take", (*Server).deleteEntry, false},

		{"POST", "/v1/spaces/{space}/read", "read_match", (*Server).readMatch, true},
		{"POST", "/v1/spaces/{space}/take", "take_match", (*Server).takeMatch, true},
		{"POST", "/v1/spaces/{space}/query", "query", (*Server).query, true},
		{"POST", "/v1/spaces/{space}/claim", "claim", (*Server).claimEntries, true},
		{"POST", "/v1/spaces/{space}/ack", "ack", (*Server).ack, false},
		{"POST", "/v1/spaces/{space}/nack", "nack", (*Server).nack, false},
		{"POST", "/v1/spaces/{space}/extend", "extend", (*Server).extend, false},
		{"POST", "/v1/spaces/{space}/change", "change_match", (*Server).changeMatch, false},
		{"POST", "/v1/spaces/{space}/aggregate", "aggregate", (*Server).aggregate, false},
		{"POST", "/v1/spaces/{space}/explain", "explain", (*Server).explain, false},

		{"POST", "/v1/units/{unit}/{handler}", "invoke", (*Server).invoke, false},
		{"GET", "/v1/ws", "subscribe", (*Server).websocket, true},
	}
}

// routed builds the handler of all routes. Methods are told apart here rather
// than by the mux, so that refusals are problems like any other.
func (s *Server) routed() http.Handler {
	mux := http.NewServeMux()
	byPath := map[string]map[string]route{}
	for _, rt := range routes() {
		if byPath[rt.path] == nil {
			byPath[rt.path] = map[string]route{}
		}
		byPath[rt.path][rt.method] = rt
	}
	for path, methods := range byPath {
		allow := allowHeader(methods)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			method := r.Method
			if method == http.MethodHead {
				method = http.MethodGet
			}
			rt, ok := methods[method]
			if !ok {
				w.Header().Set("Allow", allow)
				problem(codeMethod, r.Method+" is not possible here").write(w)
				return
			}
			s.run(rt, w, r)
		})
	}
	fallback := s.config.Fallback
	if fallback == nil {
		fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			problem(codeNoRoute, "nothing is served under "+r.URL.Path).write(w)
		})
	}
	mux.Handle("/", fallback)
	return mux
}

func allowHeader(methods map[string]route) string {
	var names []string
	for m := range methods {
		names = append(names, m)
		if m == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// run answers one request of a route and counts it.
func (s *Server) run(rt route, w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	if !rt.stream {
		ctx, cancel := s.bounded(r.Context(), s.limits.RequestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		// A recorder in a test has no deadlines; a connection always has.
		_ = http.NewResponseController(w).SetWriteDeadline(began.Add(s.limits.RequestTimeout + s.limits.BodyTimeout))
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.limits.BodyBytes)
	err := rt.serve(s, w, r)
	result := resultOK
	if err != nil && !errors.Is(err, errAnswered) {
		p := problemOf(err)
		result = strings.ToLower(p.Name)
		if p.Code == codeInternal.ID {
			s.log.Error("request failed", "method", r.Method, "path", rt.path, "error", err)
		}
		p.write(w)
	}
	s.metrics.Observe(Observation{Door: door, Op: rt.op, Result: result, Took: time.Since(began)})
}

// errAnswered ends a request whose answer has begun and cannot become a problem.
var errAnswered = errors.New("web: the answer has begun")
