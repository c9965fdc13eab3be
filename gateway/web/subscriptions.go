package web

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// subscriptionStatus is a subscription as /v1/subscriptions lists it.
type subscriptionStatus struct {
	Session      string     `json:"session"`
	Client       string     `json:"client"`
	Remote       string     `json:"remote"`
	Since        time.Time  `json:"since"`
	ID           uint32     `json:"id"`
	Space        string     `json:"space"`
	Credit       int        `json:"credit"`
	QueuedEvents int        `json:"queued_events"`
	QueuedBytes  int        `json:"queued_bytes"`
	Sent         uint64     `json:"sent_messages"`
	Resets       uint64     `json:"resets"`
	Acked        *time.Time `json:"acked,omitempty"` // when the client last acknowledged
}

func (s *Server) listSubscriptions(w http.ResponseWriter, _ *http.Request) error {
	list := []subscriptionStatus{}
	for _, c := range s.sockets.all() {
		c.mu.Lock()
		for _, sub := range c.mu.subs {
			st := subscriptionStatus{
				Session: c.session, Client: c.mu.client, Remote: c.remote, Since: c.since,
				ID: sub.id, Space: sub.space, Credit: sub.queue.credit,
				QueuedEvents: len(sub.queue.items), QueuedBytes: sub.queue.bytes, Sent: sub.sent, Resets: sub.resets,
			}
			if !sub.acked.IsZero() {
				at := sub.acked
				st.Acked = &at
			}
			list = append(list, st)
		}
		c.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b subscriptionStatus) int {
		return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.ID, b.ID))
	})
	return writeJSON(w, http.StatusOK, map[string][]subscriptionStatus{"subscriptions": list})
}

// socketTotals are sums over all connections.
type socketTotals struct {
	connections, subscriptions, bytes int
}

func (x *sockets) totals() socketTotals {
	var t socketTotals
	for _, c := range x.all() {
		t.connections++
		c.mu.Lock()
		t.subscriptions += len(c.mu.subs)
		for _, s := range c.mu.subs {
			t.bytes += s.queue.bytes
		}
		c.mu.Unlock()
	}
	return t
}
