package workload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	accountSpace = "chaos-accounts"
	receiptSpace = "chaos-receipts"

	// innerBanks have all their accounts in one partition each, so that a query
	// sees them at one moment. The outer bank has each account in its own; only a
	// transaction sees all of them.
	innerBanks   = 2
	bankAccounts = 4
	firstBalance = 100
	maxTransfer  = 40
	outerBank    = "outer"
	// settledReads bounds how often the end is read until nothing moves any more.
	settledReads = 10
	// pageSize is how many receipts are read at once at the end.
	pageSize = 250
)

// Bank is transfers between accounts, by transactions in one partition and over
// several, each with a receipt that is written with it, and reads of all accounts
// of a bank. No read sees half a transfer, and in the end exactly those have been
// made that have a receipt.
type Bank struct {
	names atomic.Int64

	mu   sync.Mutex
	open map[int]grid.TransactionRef // transfers of unknown outcome that can be asked after, by line
}

type account struct {
	ID      string `grid:"id,key"`
	Place   string `grid:"place,routing"`
	Bank    string `grid:"bank,index"`
	Balance int64  `grid:"balance"`
}

type receipt struct {
	ID    string `grid:"id,key"`
	Place string `grid:"place,routing"`
	Page  string `grid:"page,index"`
}

// errPoor refuses a transfer from an account that has too little.
var errPoor = errors.New("workload: the account has too little")

// Name implements Workload.
func (b *Bank) Name() string { return "bank" }

// Prepare implements Workload.
func (b *Bank) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := grid.OpenSpace[account](ctx, g, accountSpace)
		_, err2 := grid.OpenSpace[receipt](ctx, g, receiptSpace)
		return errors.Join(err, err2)
	})
}

// bankNames returns the banks of a run.
func bankNames(h *History) []string {
	names := []string{outerBank + "-" + h.Mark()}
	for i := range innerBanks {
		names = append(names, fmt.Sprintf("inner-%s-%d", h.Mark(), i))
	}
	return names
}

// accountName names an account; it begins with its place, the tag of its partition.
func accountName(bank string, n int) string {
	if strings.HasPrefix(bank, outerBank) {
		return fmt.Sprintf("%s-%d/%d", bank, n, n)
	}
	return fmt.Sprintf("%s/%d", bank, n)
}

func placeOf(account string) string {
	place, _, _ := strings.Cut(account, "/")
	return place
}

func transferName(h *History, n int64) string { return fmt.Sprintf("%s-%d", h.Mark(), n) }

// pageOf is the page that the receipt of a transfer is on.
func pageOf(transfer string) string {
	run, number, _ := strings.Cut(transfer, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return transfer // it is none of ours, and on no page
	}
	return fmt.Sprintf("%s/%d", run, n/pageSize)
}

// Run implements Workload. It begins with the accounts: without them there is
// nothing to transfer.
func (b *Bank) Run(ctx context.Context, p Place, h *History, o Options) error {
	b.open = map[int]grid.TransactionRef{}
	w := newCrew(p, h, o)
	first := w.client(w.options.Clients)
	first.label = "begin"
	for _, bank := range bankNames(h) {
		op := Op{Kind: "open", Key: bank}
		for n := range bankAccounts {
			op.Rows = append(op.Rows, Row{Key: accountName(bank, n), Number: firstBalance})
		}
		first.insist(ctx, op, openBank)
	}
	first.close()
	return w.run(ctx, b.step)
}

// openBank writes the accounts of a bank as they are at first.
func openBank(ctx context.Context, g *grid.Grid, op *Op) error {
	for _, r := range op.Rows {
		a := account{ID: r.Key, Place: placeOf(r.Key), Bank: op.Key, Balance: r.Number}
		if _, err := writeTo(ctx, g, accountSpace, a); err != nil {
			return err
		}
	}
	return nil
}

// step is one operation of a client.
func (b *Bank) step(ctx context.Context, c *client) {
	banks := bankNames(c.history)
	bank := banks[c.rand.IntN(len(banks))]
	if c.rand.IntN(100) < 40 {
		c.do(ctx, Op{Kind: "read", Key: bank}, readBank)
		return
	}
	from := c.rand.IntN(bankAccounts)
	to := (from + 1 + c.rand.IntN(bankAccounts-1)) % bankAccounts
	op := Op{
		Kind: "transfer", Key: transferName(c.history, b.names.Add(1)),
		Expect: accountName(bank, from), Value: accountName(bank, to), Number: 1 + c.rand.Int64N(maxTransfer),
	}
	var ref *grid.TransactionRef
	done := c.do(ctx, op, func(ctx context.Context, g *grid.Grid, op *Op) error {
		err := transfer(ctx, g, op)
		if unknown, ok := errors.AsType[*grid.UnknownTransactionError](err); ok {
			ref = &unknown.Ref
		}
		return err
	})
	if done != nil && !done.Hung && ref != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open[done.N] = *ref
	}
}

// transfer moves Number from the account Expect to the account Value and writes a
// receipt, or nothing of that.
func transfer(ctx context.Context, g *grid.Grid, op *Op) error {
	accounts, err := grid.OpenSpace[account](ctx, g, accountSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	receipts, err := grid.OpenSpace[receipt](ctx, g, receiptSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	err = g.Transact(ctx, func(tx *grid.Tx) error {
		of := accounts.In(tx)
		from, err := of.Read(grid.RoutedKey{Routing: placeOf(op.Expect), Key: op.Expect})
		if err != nil {
			return err
		}
		to, err := of.Read(grid.RoutedKey{Routing: placeOf(op.Value), Key: op.Value})
		if err != nil {
			return err
		}
		if from.Balance < op.Number {
			return errPoor
		}
		from.Balance -= op.Number
		to.Balance += op.Number
		return errors.Join(of.Write(from), of.Write(to),
			receipts.In(tx).Write(receipt{ID: op.Key, Place: placeOf(op.Expect), Page: pageOf(op.Key)}))
	})
	if errors.Is(err, errPoor) {
		return refusedf("%w", err)
	}
	return err
}

// readBank reads the accounts of a bank at one moment.
func readBank(ctx context.Context, g *grid.Grid, op *Op) error {
	op.Rows = nil
	if strings.HasPrefix(op.Key, outerBank) {
		return readOuter(ctx, g, op)
	}
	s, err := grid.OpenSpace[account](ctx, g, accountSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	for a, err := range s.Query(ctx, grid.Template{"bank": op.Key}) {
		if err != nil {
			return refusedf("query: %w", err)
		}
		op.Rows = append(op.Rows, Row{Key: a.ID, Number: a.Balance})
	}
	return nil
}

func readOuter(ctx context.Context, g *grid.Grid, op *Op) error {
	s, err := grid.OpenSpace[account](ctx, g, accountSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	err = g.Transact(ctx, func(tx *grid.Tx) error {
		op.Rows = nil
		for n := range bankAccounts {
			name := accountName(op.Key, n)
			a, err := s.In(tx).Read(grid.RoutedKey{Routing: placeOf(name), Key: name})
			if errors.Is(err, grid.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			op.Rows = append(op.Rows, Row{Key: a.ID, Number: a.Balance})
		}
		return nil
	})
	if err != nil {
		op.Rows = nil // it was not committed: never there together
		return refusedf("transact: %w", err)
	}
	return nil
}

// Finish implements Workload: transfers without an answer are asked after, and
// everything is read until nothing moves any more.
func (b *Bank) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		for _, line := range slices.Sorted(maps.Keys(b.open)) {
			c.insist(ctx, Op{Kind: "status", At: line}, func(ctx context.Context, g *grid.Grid, op *Op) error {
				committed, err := g.TransactionStatus(ctx, b.open[line])
				if errors.Is(err, grid.ErrTransactionForgotten) {
					op.Got = "forgotten"
					return nil
				}
				op.Got = map[bool]string{true: "committed", false: "given up"}[committed]
				return err
			})
		}
		var before string
		for range settledReads {
			var rows strings.Builder
			for _, bank := range bankNames(h) {
				if done := c.insist(ctx, Op{Kind: "final", Key: bank}, readBank); done != nil {
					fmt.Fprint(&rows, done.Rows)
				}
			}
			now := rows.String()
			if now == before {
				break
			}
			before = now
			for first := int64(0); first <= b.names.Load(); first += pageSize {
				c.insist(ctx, Op{Kind: "receipts", Key: pageOf(transferName(h, first))}, readReceipts)
			}
		}
	})
}

func readReceipts(ctx context.Context, g *grid.Grid, op *Op) error {
	op.Rows = nil
	s, err := grid.OpenSpace[receipt](ctx, g, receiptSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	for r, err := range s.Query(ctx, grid.Template{"page": op.Key}) {
		if err != nil {
			return refusedf("query: %w", err)
		}
		op.Rows = append(op.Rows, Row{Key: r.ID})
	}
	return nil
}

// receiptsOf returns all receipts, nil if a page was not read.
func receiptsOf(pages map[string]map[string]bool, transfers []check.Transfer) map[string]bool {
	all := map[string]bool{}
	for _, t := range transfers {
		if pages[pageOf(t.ID)] == nil {
			return nil
		}
	}
	for _, page := range pages {
		maps.Copy(all, page)
	}
	return all
}

// Judge implements Workload.
func (b *Bank) Judge(h *History) *Verdict {
	v := tally(h)
	all := check.BankHistory{Start: map[string]map[string]int64{}}
	byLine := map[int]int{}
	final := map[string]check.Balances{}
	pages := map[string]map[string]bool{}
	balances := func(op *Op) check.Balances {
		r := check.Balances{Line: op.N, Group: op.Key, Of: map[string]int64{}}
		for _, row := range op.Rows {
			r.Of[row.Key] = row.Number
		}
		return r
	}
	for op := range h.of("open", "transfer", "status", "read", "final", "receipts") {
		switch {
		case op.Kind == "open":
			all.Start[op.Key] = balances(op).Of
		case op.Kind == "transfer":
			byLine[op.N] = len(all.Transfers)
			all.Transfers = append(all.Transfers, check.Transfer{
				Line: op.N, ID: op.Key, From: op.Expect, To: op.Value, Amount: op.Number, Outcome: op.Outcome,
			})
		case op.Outcome != check.Done:
		case op.Kind == "status":
			outcome := map[string]check.Outcome{"committed": check.Done, "given up": check.Refused}[op.Got]
			if n, ok := byLine[op.At]; ok {
				all.Transfers[n].Outcome = outcome
			}
		case op.Kind == "read":
			all.Reads = append(all.Reads, balances(op))
		case op.Kind == "final":
			final[op.Key] = balances(op)
			all.Reads = append(all.Reads, balances(op))
		case op.Kind == "receipts":
			pages[op.Key] = map[string]bool{}
			for _, row := range op.Rows {
				pages[op.Key][row.Key] = true
			}
		}
	}
	all.Receipts = receiptsOf(pages, all.Transfers)
	for _, bank := range slices.Sorted(maps.Keys(final)) {
		all.Final = append(all.Final, final[bank])
	}
	found := check.Bank(&all)
	v.AckedLost, v.Phantom, v.DoubleApplies = found.Lost+found.Absent, found.Phantom, found.Unbalanced
	v.Wrong += found.Torn + found.Negative
	v.Unknown = found.Unread
	v.complain(found.Complaints...)
	return v
}
