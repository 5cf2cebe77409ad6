"""Which fields of Meta's nodes are asked for: the Graph API gives little that is not."""

from __future__ import annotations

COMMENT = "id,message,from,created_time,parent{id},attachment,permalink_url,is_hidden,can_reply_privately"
POST = "id,message,from,created_time,updated_time,permalink_url,status_type,attachments{type,url,media,target}"
TAGGED = "id,message,from,created_time,permalink_url,attachments{type,url,media,target}"
RATING = "created_time,has_rating,has_review,open_graph_story{id},rating,recommendation_type,review_text,reviewer"
MESSAGE = "id,created_time,from,to,message,attachments"
CONVERSATION = "id,updated_time,participants"
INSTAGRAM_COMMENT = "id,text,timestamp,username,from,parent_id,hidden"
MEDIA = "id,caption,timestamp,permalink,username,media_type,media_url"
MENTIONED_COMMENT = "id,text,timestamp,username,from,media{id}"
MENTIONED_MEDIA = "id,caption,timestamp,username,permalink,media_type,media_url,owner"
