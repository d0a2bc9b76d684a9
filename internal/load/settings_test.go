package load

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/livenet/livenet/internal/bench"
)

// What a result depends on is told with it.
func TestSettings(t *testing.T) {
	for _, test := range []struct {
		report *bench.Report
		want   string // of the settings, as JSON has them
		text   string
	}{
		{(&stallRun{Stall: &Stall{Starve: StarveStop, Stops: []float64{0.5, 2}, Trials: 4}}).report(), `"trials":4,"dead":0,"stops":[0.5,2]}`, "stops 0.5,2"},
		{(&stallRun{Stall: &Stall{Starve: StarveGC, Stops: []float64{0.5, 2}, Trials: 1}}).report(), `"trials":1,"dead":0}`, "trials 1"},
		{(&failRun{Fail: &Fail{Ways: FailWays}}).report(), `"peers":"all"`, "peers all"},
		{(&failRun{Fail: &Fail{Ways: []string{FailKilled}}}).report(), `"peers":"killed"`, "peers killed"},
	} {
		var b, text strings.Builder
		if err := test.report.WriteJSON(&b); err != nil || !json.Valid([]byte(b.String())) || !strings.Contains(b.String(), test.want) {
			t.Errorf("%v: no %s in %s", err, test.want, &b)
		}
		if err := test.report.WriteText(&text); err != nil || !strings.Contains(text.String(), test.text) {
			t.Errorf("%v: no %s in %s", err, test.text, &text)
		}
	}
}
