package procenv

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAccounts(t *testing.T) {
	root, err := LookUp("root")
	if diff := cmp.Diff(Account{"root", 0, 0, []uint32{0}}, root); diff != "" || err != nil {
		t.Errorf("root: %v (-want +got):\n%s", err, diff)
	}
	if _, err := LookUp("nosuch:root"); err == nil || err.Error() != "unknown user/group: nosuch:root" {
		t.Errorf("nobody of that name: %v", err)
	}
	found := LookUpAll([]string{"nosuch", "root:nosuch", ":5:6:7", "root"})
	if diff := cmp.Diff([]Account{{":5:6:7", 5, 6, []uint32{6, 7}}, root}, found); diff != "" {
		t.Errorf("those that there are (-want +got):\n%s", diff)
	}
	for uid, want := range map[uint32]string{0: "root", 4294967290: "4294967290"} {
		if got := UserName(uid); got != want {
			t.Errorf("%d is %s", uid, got)
		}
	}
}
