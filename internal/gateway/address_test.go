package gateway

import "testing"

func TestParseAddress(t *testing.T) {
	for _, text := range []string{"127.0.0.1:6379", "[::1]:6379", "db.example:5432", "unix:/run/redis.sock"} {
		if a, err := ParseAddress(text); err != nil || a.String() != text {
			t.Errorf("%q: %v, %v", text, a, err)
		}
	}
	for _, text := range []string{"", "6379", ":6379", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1:70000", "unix:", "http://a:1"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q: %v", text, a)
		}
	}
}
