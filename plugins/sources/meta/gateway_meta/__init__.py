"""Facebook Pages and Instagram professional accounts as a source: comments, mentions, recommendations, messages."""
