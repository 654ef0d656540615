"""LunaSec on the cluster that kubeconfig points to. README.md says what is tested."""
