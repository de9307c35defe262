package apitest

import (
	"os"
	"testing"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// TestMain fails the run if a test has left something behind: see wstest.Main.
func TestMain(m *testing.M) { os.Exit(wstest.Main(m)) }
