-- How single links do is looked at on every page that lists them.

CREATE INDEX sample_link ON sample (link, span, at) WHERE link > 0;
