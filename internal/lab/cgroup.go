package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A cgroup is a control group of a worker, which limits the processor time that
// it gets.
type cgroup struct {
	dir string
	v2  bool
}

const (
	cgroupPrefix = "livenet-lab-"
	cgroupPeriod = 100_000 // microseconds
)

// newCgroup makes one, without a limit, for a process.
func newCgroup(pid int) (*cgroup, error) {
	root, v2, err := cgroupRoot()
	if err != nil {
		return nil, err
	}
	// Killed processes leave their groups behind. A group in use can't be removed.
	old, _ := filepath.Glob(filepath.Join(root, cgroupPrefix+"*"))
	for _, dir := range old {
		os.Remove(dir)
	}
	dir := filepath.Join(root, cgroupPrefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("no control group can be made: %w", err)
	}
	c := &cgroup{dir, v2}
	return c, c.write("cgroup.procs", strconv.Itoa(pid))
}

// cgroupRoot is where control groups for processors are.
func cgroupRoot() (root string, v2 bool, err error) {
	mounts, _ := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(mounts)) {
		// cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
		f := strings.Fields(line)
		switch {
		case len(f) < 4:
		case f[2] == "cgroup" && slices.Contains(strings.Split(f[3], ","), "cpu"):
			return f[1], false, nil
		case f[2] == "cgroup2" && delegates(f[1]):
			root, v2 = f[1], true
		}
	}
	if root == "" {
		return "", false, errors.New("no control groups for processors are mounted here")
	}
	return root, v2, nil
}

func delegates(root string) bool {
	list, _ := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
	return slices.Contains(strings.Fields(string(list)), "cpu")
}

// limit limits the group to a share of one CPU; 0 means no limit.
func (c *cgroup) limit(percent int) error {
	quota := "-1"
	if c.v2 {
		quota = "max"
	}
	if percent > 0 {
		quota = strconv.Itoa(percent * cgroupPeriod / 100)
	}
	if c.v2 {
		return c.write("cpu.max", fmt.Sprintf("%s %d", quota, cgroupPeriod))
	}
	return errors.Join(c.write("cpu.cfs_period_us", strconv.Itoa(cgroupPeriod)), c.write("cpu.cfs_quota_us", quota))
}

func (c *cgroup) write(file, text string) error {
	if err := os.WriteFile(filepath.Join(c.dir, file), []byte(text), 0); err != nil {
		return fmt.Errorf("the control group can't be set up: %w", err)
	}
	return nil
}

// remove removes the group, whose process has ended.
func (c *cgroup) remove() {
	if c != nil {
		os.Remove(c.dir)
	}
}
