//go:build unix

package devtls

import (
	"os"
	"strings"
	"testing"
)

// A folder that another user owns or can write to is refused: that user could replace the key.
func TestFolderOfAnotherUserIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(dir string) error
		want   string
	}{
		{"group", func(dir string) error { return os.Chmod(dir, 0o770) }, "others may write to "},
		{"all", func(dir string) error { return os.Chmod(dir, 0o777) }, "others may write to "},
		{"another's", func(dir string) error { return os.Chown(dir, 12345, -1) }, "belongs to another user (12345)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			identity(t, s)
			if err := test.change(s.Dir); err != nil {
				t.Skip(err) // only root can change the owner
			}
			_, err1 := s.Identity()
			_, err2 := s.ClientConfig("localhost")
			_, err3 := ResetKey(s.ResetKeyFile(), "127.0.0.1:1")
			for _, err := range []error{err1, err2, err3} {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}
