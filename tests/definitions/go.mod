// The resource definitions of other projects, which tests take out of the modules' folders. No
// package of them is imported, so `go mod tidy` would drop the requirements.
module agentkube.io/definitions

go 1.26.0

require (
	github.com/openreports/reports-api v0.2.1
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
