//! Who is a member of the cluster.
