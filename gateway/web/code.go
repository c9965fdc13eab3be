package web

import "net/http"

// Code is one of the reasons for which this door refuses something. Codes are
// never reused.
type Code struct {
	ID     string // stays the same over releases: E2004
	Name   string // for programs that read better than numbers: SPACE_NOT_FOUND
	Status int    // of an HTTP response
	// Retryable says that the same request may succeed later, unchanged.
	Retryable bool
	// Means says what has happened, Hint what to do next.
	Means string
	Hint  string
}

// The codes, by subject: requests, entries and spaces, subscriptions, the
// cluster, units.
var (
	codeInvalid       = Code{"E1001", "INVALID", http.StatusBadRequest, false, "The request itself is wrong.", "Correct it; repeating it does not help."}
	codeTooLarge      = Code{"E1002", "TOO_LARGE", http.StatusRequestEntityTooLarge, false, "A key, value, body or batch is over its limit.", "Split it."}
	codeNoRoute       = Code{"E1003", "NO_ROUTE", http.StatusNotFound, false, "There is nothing under this path.", "GET /openapi.json lists what there is."}
	codeMethod        = Code{"E1004", "METHOD_NOT_ALLOWED", http.StatusMethodNotAllowed, false, "The path does not have this method.", "The Allow header lists those it has."}
	codeForeignHost   = Code{"E1005", "FOREIGN_HOST", http.StatusForbidden, false, "The request reached this member under a name that is not its own.", "Use 127.0.0.1 or localhost, or allow the name in the configuration."}
	codeForeignPage   = Code{"E1006", "FOREIGN_ORIGIN", http.StatusForbidden, false, "A page of another origin sent the request.", "Allow the origin in the configuration if it is trusted."}
	codeMediaType     = Code{"E1007", "MEDIA_TYPE", http.StatusUnsupportedMediaType, false, "The body is of a type that is not understood here.", "Send application/json, application/jsonl or application/octet-stream."}
	codeUpgrade       = Code{"E1008", "WRONG_PROTOCOL", http.StatusUpgradeRequired, false, "The path speaks WebSocket with the subprotocol grid.v1.", "Connect with a WebSocket client that offers grid.v1."}
	codeTooMany       = Code{"E1009", "TOO_MANY_CONNECTIONS", http.StatusServiceUnavailable, true, "This member has as many connections as it takes.", "Use another member, or come back later."}
	codeNotFound      = Code{"E2001", "NOT_FOUND", http.StatusNotFound, false, "There is no such entry, or none that matches.", ""}
	codeExists        = Code{"E2002", "EXISTS", http.StatusConflict, false, "The key is present already.", "Write without the condition to replace it."}
	codeConflict      = Code{"E2003", "CONFLICT", http.StatusPreconditionFailed, false, "The entry has another version than asked for.", "Read it again and decide anew."}
	codeNoSpace       = Code{"E2004", "SPACE_NOT_FOUND", http.StatusNotFound, false, "The space does not exist.", "Create it with POST /v1/spaces, or see GET /v1/spaces."}
	codeWrongKind     = Code{"E2005", "WRONG_KIND", http.StatusUnprocessableEntity, false, "The value is not of the kind that the operation needs.", "See the space's definition for its shape."}
	codeScanRefused   = Code{"E2006", "SCAN_REFUSED", http.StatusUnprocessableEntity, false, "No index serves the template and too many entries would have to be examined.", "Declare an index on the template's fields, or set allow_scan."}
	codeRange         = Code{"E2007", "OUT_OF_RANGE", http.StatusUnprocessableEntity, false, "A number would leave its range, or an array has no such element.", ""}
	codeOtherSpace    = Code{"E2008", "SPACE_CONFLICT", http.StatusConflict, false, "A space of this name has another definition.", "Choose another name, or use the space as it is."}
	codeUnmet         = Code{"E2009", "UNMET", http.StatusPreconditionFailed, false, "The condition on the entry does not hold.", "Nothing was changed. Read the entry to see why."}
	codeFenced        = Code{"E2010", "FENCED", http.StatusConflict, false, "The claim of this token has ended.", "Somebody else may have the entry: drop the work."}
	codeClaimed       = Code{"E2011", "CLAIMED", http.StatusLocked, true, "A claim hides the entry.", "Wait for its holder to acknowledge it, or for the claim to end."}
	codeCancelled     = Code{"E2012", "CANCELLED", http.StatusConflict, false, "The client ended the wait.", ""}
	codeLocked        = Code{"E2013", "LOCKED", http.StatusLocked, true, "A transaction that is being decided holds the entry.", "Repeat it after a pause."}
	codeTrimmed       = Code{"E2014", "TRIMMED", http.StatusConflict, true, "What happened since the read is not known any more.", "Run the transaction again."}
	codeFull          = Code{"E2015", "FULL", http.StatusTooManyRequests, true, "A table of waiting commands, claims or transactions is full.", "Slow down: fewer may wait or hold claims at once."}
	codeUnprepared    = Code{"E2016", "UNPREPARED", http.StatusConflict, true, "Nothing is prepared for the transaction.", "Run the transaction again."}
	codeSubsLimit     = Code{"E3001", "TOO_MANY_SUBSCRIPTIONS", http.StatusTooManyRequests, false, "The connection has as many subscriptions as it may.", "End one, or open another connection."}
	codeNoSub         = Code{"E3002", "NO_SUBSCRIPTION", http.StatusNotFound, false, "The connection has no subscription of this id.", "It may have ended meanwhile."}
	codeUnavailable   = Code{"E4001", "UNAVAILABLE", http.StatusServiceUnavailable, true, "Nobody could take the request up in time. It had no effect.", "Repeat it after a pause."}
	codeIndeterminate = Code{"E4002", "INDETERMINATE", http.StatusGatewayTimeout, false, "The request may or may not have taken effect.", "Read to find out before repeating it."}
	codeDraining      = Code{"E4003", "DRAINING", http.StatusServiceUnavailable, true, "This member is about to stop.", "Use another member."}
	codeInternal      = Code{"E4004", "INTERNAL", http.StatusInternalServerError, false, "The member has failed in a way that it has no name for.", "Its log says more."}
	codeNoHandler     = Code{"E5001", "UNKNOWN_HANDLER", http.StatusNotFound, false, "No unit has such a handler.", "Deploy the unit on every member."}
	codeRefused       = Code{"E5002", "REFUSED", http.StatusUnprocessableEntity, false, "The handler refused the request, without effect.", ""}
)

// Codes lists every code, in the order of their ids.
func Codes() []Code {
	return []Code{
		codeInvalid, codeTooLarge, codeNoRoute, codeMethod, codeForeignHost, codeForeignPage, codeMediaType, codeUpgrade, codeTooMany,
		codeNotFound, codeExists, codeConflict, codeNoSpace, codeWrongKind, codeScanRefused, codeRange, codeOtherSpace,
		codeUnmet, codeFenced, codeClaimed, codeCancelled, codeLocked, codeTrimmed, codeFull, codeUnprepared,
		codeSubsLimit, codeNoSub,
		codeUnavailable, codeIndeterminate, codeDraining, codeInternal,
		codeNoHandler, codeRefused,
	}
}
