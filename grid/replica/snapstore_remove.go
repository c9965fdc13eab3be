package replica

import "fmt"

// RemoveSnapshots removes the folder that cfg names with all snapshots in it,
// after LogStorage.DropGroup has removed the group's log. No store may be open on
// it. A folder that does not exist is none.
func RemoveSnapshots(cfg SnapshotStoreConfig) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	if err := cfg.FS.RemoveAll(cfg.Dir); err != nil {
		return fmt.Errorf("replica: remove snapshots: %w", err)
	}
	return nil
}
