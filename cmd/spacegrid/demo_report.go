package main

import (
	"fmt"
	"time"
)

// demoReport is the demo's last line as JSON. Its names are part of the
// interface.
type demoReport struct {
	Members          int     `json:"members"`
	Seats            int     `json:"seats"`
	Buyers           int     `json:"buyers"`
	Sold             int     `json:"sold"`
	Acknowledged     int     `json:"acknowledged"`
	DoubleSold       int     `json:"double_sold"`
	AcknowledgedLost int     `json:"acknowledged_lost"`
	Phantom          int     `json:"phantom"`
	MissingSeats     int     `json:"missing_seats"`
	Refused          int     `json:"refused"`
	Failed           int     `json:"failed"`
	Indeterminate    int     `json:"indeterminate"`
	IndeterminateWon int     `json:"indeterminate_sold"`
	Killed           int     `json:"killed"`
	GroupsLed        int     `json:"groups_led_by_killed"`
	WriteGapMS       int64   `json:"write_gap_ms"`
	PumpBacklog      uint64  `json:"pump_backlog"`
	StoreMatches     bool    `json:"store_matches"`
	StoresRead       int     `json:"stores_read"`
	StoreDifferences int     `json:"store_differences"`
	SalesPerSecond   int     `json:"sales_per_s"`
	QuietPerSecond   int     `json:"quiet_buyers_per_s"`
	BurstPerSecond   int     `json:"burst_buyers_per_s"`
	P50MS            float64 `json:"p50_ms"`
	P99MS            float64 `json:"p99_ms"`
	Seconds          float64 `json:"seconds"`
	Seed             uint64  `json:"seed"`
	OK               bool    `json:"ok"`
}

// milliseconds with three decimals, which is as much as was measured.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// summary writes the report for somebody who has never seen the demo.
func (r *demoReport) summary() *table {
	t := &table{header: []string{"WHAT HAPPENED", "", ""}}
	t.add("on sale", fmt.Sprintf("%d seats", r.Seats), fmt.Sprintf("on %d member processes, each with a copy of everything", r.Members))
	t.add("buyers", r.Buyers, fmt.Sprintf("first %d a second, then %d a second, whether or not they were served", r.QuietPerSecond, r.BurstPerSecond))
	t.add("sold", fmt.Sprintf("%d seats", r.Sold), fmt.Sprintf("%d a second; %d requests came too late for their seat", r.SalesPerSecond, r.Refused))
	t.add("answers", fmt.Sprintf("%.1f ms", r.P50MS), fmt.Sprintf("for half of the requests; %.1f ms for 99 of 100", r.P99MS))
	t.add("killed", fmt.Sprintf("%d process", r.Killed), fmt.Sprintf("with SIGKILL in the middle of it; it was leading %d of the groups that sold", r.GroupsLed))
	t.add("stood still", fmt.Sprintf("%d ms", r.WriteGapMS), "until the seats that it had been selling were sold by others")
	t.add("uncertain", r.Indeterminate, fmt.Sprintf("requests had no clear answer; a look afterwards found %d sold", r.IndeterminateWon))
	t.add("", "", "")
	t.add("AND THEN, FROM THE OUTSIDE", "", "")
	t.add("sold twice", r.DoubleSold, "seats of which two buyers hold a receipt")
	t.add("lost", r.AcknowledgedLost, "receipts whose seat is not the buyer's")
	t.add("unasked", r.Phantom, "seats that belong to a buyer who was told otherwise")
	t.add("not in the store", r.PumpBacklog, "changes still on their way when everything was quiet")
	t.add("stores", fmt.Sprintf("%d read", r.StoresRead), fmt.Sprintf("from disk after all members had stopped; %d rows differ from the grid", r.StoreDifferences))
	verdict := "every promise was kept"
	if !r.OK {
		verdict = "a promise was broken"
	}
	t.add("", "", "")
	t.add("verdict", verdict, fmt.Sprintf("seed %d, %.1f s", r.Seed, r.Seconds))
	return t
}
