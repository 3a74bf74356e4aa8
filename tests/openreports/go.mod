// The resource definitions of openreports.io, which the cluster tests take out of the module's
// folder. No package of it is imported, so `go mod tidy` would drop the requirement.
module agentkube.io/openreports

go 1.26.0

require github.com/openreports/reports-api v0.2.1
