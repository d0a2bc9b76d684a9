package tunnel

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
)

// machineIDs are the files in which systems keep a unique id of the machine.
var machineIDs = []string{"/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostid"}

// DefaultID returns an id for the publisher of these services on this machine. It is stable,
// and differs between machines as far as their host names or machine ids do. The machine id
// is confidential (machine-id(5)), so the id has a hash of it.
func DefaultID(services []string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	id := host
	for _, file := range machineIDs {
		if b, err := os.ReadFile(file); err == nil && len(b) > 0 {
			id += fmt.Sprintf("-%.4x", sha256.Sum256(append([]byte("livenet tunnel "), b...)))
			break
		}
	}
	id += "/" + strings.Join(services, ",")
	if CheckID(id) != nil { // too many names
		id = fmt.Sprintf("%.16x", sha256.Sum256([]byte(id)))
	}
	return id
}
