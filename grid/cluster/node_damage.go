package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// ErrDamaged is returned when what a member keeps is damaged and it must not go on
// with it.
var ErrDamaged = errors.New("cluster: damaged data")

// ErrStoreLost is returned by Store.Stored while a store is empty because it took
// the place of a damaged one: what it does not hold may exist nowhere else, so
// nothing may begin anew as if it were all.
var ErrStoreLost = errors.New("cluster: the store was set aside as damaged and is not rebuilt yet")

// openStorage opens the logs, after it has checked everything that rests on them. A
// damaged folder is set aside, and the member begins again as one that has nothing
// and takes everything from the others.
func (n *Node) openStorage() error {
	if n.cfg.Dir == "" {
		return nil
	}
	err := n.openLogs()
	if replica.IsDamage(err) {
		err = n.beginAnew(err)
	}
	return err
}

// logs is where the logs are and how they are kept.
func (n *Node) logs() replica.LogStorageConfig {
	cfg := n.cfg.Logs
	cfg.Dir = filepath.Join(n.cfg.Dir, "log")
	if cfg.Logger == nil {
		cfg.Logger = n.log
	}
	return cfg
}

// openLogs opens the logs if nothing that the member keeps is damaged.
func (n *Node) openLogs() (err error) {
	n.storage, err = replica.OpenCheckedLogStorage(n.logs(), n.snapshotRoot(), metaName)
	return err
}

// beginAnew sets the damaged folder aside, if there are others to take its content
// from, or if the loss of what they and the store do not have is accepted.
func (n *Node) beginAnew(damage error) error {
	if !n.accompanied() && !n.cfg.AcceptLoss {
		return fmt.Errorf("%w: %s: %w: nobody is known to take its content from: restore the folder from a backup, or name other members to join, "+
			"or accept the loss of what the store has not got (AcceptLoss, --accept-loss)", ErrDamaged, n.cfg.Dir, damage)
	}
	aside, err := replica.SetAside(n.logs(), n.cfg.Dir)
	if err != nil {
		return fmt.Errorf("%w: %s: %w: %w", ErrDamaged, n.cfg.Dir, damage, err)
	}
	n.log.Error("the member's logs are damaged; they are set aside, and it takes its content from the others", "folder", n.cfg.Dir, "aside", aside, "err", damage)
	return n.openLogs()
}

// accompanied reports whether the member is one of several, as far as it can know
// without its logs.
func (n *Node) accompanied() bool {
	if n.cfg.Listen == "" {
		return false
	}
	if len(n.cfg.Seeds) > 0 || n.cfg.Expect > 1 {
		return true
	}
	grid, err := n.stored(n.ctx)
	return err == nil && slices.ContainsFunc(grid.Members, func(m MemberID) bool { return m != grid.Owner })
}

// bereft says why a member that has lost its logs takes no part in founding a
// cluster, nil if it may: what it has lost may have been acknowledged, and exist
// nowhere else.
func (n *Node) bereft() error {
	if n.aside == "" || n.cfg.AcceptLoss {
		return nil
	}
	return fmt.Errorf("%w: the logs of this member were damaged and are in %s: it waits for a majority of its cluster "+
		"(start the others, or restore that folder, or accept the loss of what the stores have not got: AcceptLoss, --accept-loss)", ErrDamaged, n.aside)
}

// damaged notes that what was read of the logs or snapshots does not verify, so that
// the next start sets them aside, and ends what rests on them. Any other error is
// returned as it is.
func (n *Node) damaged(err error) error {
	if n.storage == nil || !replica.IsDamage(err) {
		return err
	}
	return errors.Join(err, n.storage.Damaged(err))
}
