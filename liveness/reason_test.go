package liveness

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

func TestReasonsMatchTheProtocol(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| ([a-z-]+) \|`).FindAllStringSubmatch(string(doc), -1)
	named := map[string]uint64{}
	for _, row := range rows {
		n, _ := strconv.ParseUint(row[1], 10, 64)
		named[row[2]] = n
	}
	for code := uint64(0); ; code++ {
		r, ok := reasonOf(code)
		if !ok {
			if code != 17 {
				t.Errorf("%d reasons are sent, want 17", code)
			}
			break
		}
		if n, ok := named[r.String()]; !ok || n != code || r.Code() != code {
			t.Errorf("%v is %d here and %d in docs/protocol.md", r, code, n)
		}
	}
}

func TestReasonText(t *testing.T) {
	for r, name := range reasonNames {
		b, err := json.Marshal(map[string]Reason{"reason": r})
		if want := `{"reason":"` + name + `"}`; err != nil || string(b) != want {
			t.Errorf("marshalled to %s, %v", b, err)
		}
		var back map[string]Reason
		if err := json.Unmarshal(b, &back); err != nil || back["reason"] != r {
			t.Errorf("%s came back as %v, %v", b, back["reason"], err)
		}
	}
	var r Reason
	if err := r.UnmarshalText([]byte("boredom")); err == nil {
		t.Error("read a reason that there isn't")
	}
	if PeerReset.Code() != uint64(Done) {
		t.Error("a reason that is only observed was given a code")
	}
}

// explain copies an error of an underlying Conn.
func TestAnErrorExplainedIsACopy(t *testing.T) {
	beneath := &Error{Reason: PeerReset, Initiator: Peer, Age: 2 * sec}
	e := explain(fmt.Errorf("reading: %w", beneath))
	if e == beneath || *e != *beneath {
		t.Errorf("got %v, of %p and %p", e, e, beneath)
	}
}
