package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// lookTime bounds one look at a member.
const lookTime = 5 * time.Second

// lookAt asks a member, by its metrics, what it uses, and adds up its files.
func lookAt(ctx context.Context, m *lab.Member, door string) (Look, error) {
	l := Look{Member: m.Name()}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+door+"/metrics", http.NoBody)
	if err != nil {
		return l, fmt.Errorf("chaos: look at %s: %w", m.Name(), err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return l, fmt.Errorf("chaos: look at %s: %w", m.Name(), err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end
	values := map[string]float64{}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = v
		}
	}
	l.Goroutines = int(values["go_goroutines"])
	l.Files = int(values["process_open_fds"])
	l.Resident = int64(values["process_resident_memory_bytes"])
	if l.Goroutines == 0 || l.Files == 0 || l.Resident == 0 {
		return l, fmt.Errorf("chaos: the metrics of %s do not say what it uses", m.Name())
	}
	l.Disk, err = folderBytes(m.Dir())
	return l, err
}

// folderBytes adds up the files under a folder. One that goes away meanwhile does
// not count.
func folderBytes(dir string) (int64, error) {
	sum := int64(0)
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("chaos: add up %s: %w", dir, err)
	}
	return sum, nil
}
