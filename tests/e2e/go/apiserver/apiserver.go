//go:build never

// The API server of Kubernetes, as a requirement: its own module can't be installed by
// version, since it replaces the modules that it is cut into.
package apiserver

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
