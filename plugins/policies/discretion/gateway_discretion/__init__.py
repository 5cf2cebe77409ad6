"""The policy on what belongs in private: take it offline."""
